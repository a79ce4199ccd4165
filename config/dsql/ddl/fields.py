"""Columns: added, filled, NOT NULL, removed."""

from django.db import IntegrityError, NotSupportedError, ProgrammingError

from config.dsql.catalog import NOT_NULL_SUFFIX
from config.dsql.columns import marked
from config.dsql.ddl.constraints import Constraints
from config.dsql.ddl.statements import DUPLICATE_COLUMN, DUPLICATE_OBJECT, step
from config.dsql.rows import BATCH, Rows


class Fields(Constraints):
    @step
    def add_field(self, model, field):
        """Add a column.

        1. Refuse what cannot be added: identity, generated and primary key columns, and
           NOT NULL without a default when there are rows.
        2. ADD COLUMN with name and type; DSQL takes nothing else. A column that a run
           left which ended in an error, perhaps as NOT NULL, is taken over.
        3. SET DEFAULT: the field's db_default, or for the time of the migration its
           default, so that rows inserted meanwhile have a value.
        4. Write the default into the existing rows in batches.
        5. NOT NULL as a CHECK that is validated; drop a default that was for the time.
        6. CHECK, comment, UNIQUE.
        7. Foreign key, unless its table is made later; the index at the end.
        """
        if field.many_to_many and field.remote_field.through._meta.auto_created:
            self.create_model(field.remote_field.through)
            return
        params = field.db_parameters(connection=self.connection)
        if params["type"] is None:
            return
        self._refuse_column(model, field)
        self._add_column(model, field, self._type(field))
        default, temporary = self._default(field)
        try:
            if default is not None:
                self._set_default(model, field, default)
                self._fill(model, field, default)
            if not field.null:
                self._set_not_null(model, field)
        finally:
            if temporary:
                self._alter_column(model, field, "DROP DEFAULT")
        self._finish_column(model, field, params["check"])

    def _finish_column(self, model, field, check):
        if check:
            self._add_check(model, field, check)
        if field.db_comment:
            self.execute(
                *self._alter_column_comment_sql(model, field, None, field.db_comment)
            )
        if field.unique:
            self.execute(self._create_unique_sql(model, [field]))
        if field.remote_field and field.db_constraint:
            key = self._create_fk_sql(model, field, "_fk_%(to_table)s_%(to_column)s")
            if self._exists(field.target_field.model._meta.db_table):
                self.execute(key)
            else:
                self.deferred_sql.append(key)
        self.deferred_sql.extend(self._field_indexes_sql(model, field))

    def table_sql(self, model):
        # Refuses an index that cannot be built, before there is a table.
        self._model_indexes_sql(model)
        return super().table_sql(model)

    def _refuse_column(self, model, field):
        what = ""
        if field.primary_key:
            what = "a primary key"
        elif field.generated:
            what = "a generated column"
        elif field.db_type_suffix(connection=self.connection):
            what = "an identity column"
        if what:
            raise NotSupportedError(
                f"DSQL cannot add {what} to a table: {model._meta.label}.{field.name}. Make "
                f"a new table with it and copy the rows."
            )
        self._refuse_collation(model, field)
        default, _ = self._default(field)
        if self.collect_sql or field.null or default is not None:
            return
        table = model._meta.db_table
        if self._column(field) not in self.catalog.columns(
            table
        ) and self.catalog.has_rows(table):
            raise IntegrityError(
                f"{model._meta.label}.{field.name} is NOT NULL without a default, and "
                f"{table} has rows. Nothing was changed; give the field a default."
            )

    def _refuse_collation(self, model, field):
        collation = field.db_parameters(connection=self.connection).get("collation")
        if collation not in (None, "C"):
            raise NotSupportedError(
                f"DSQL has the collation C only: remove db_collation={collation!r} from "
                f"{model._meta.label}.{field.name}."
            )

    def _collate_sql(self, collation, old_collation=None, table_name=None):
        return ""

    def _iter_column_sql(
        self, column_db_type, params, model, field, field_db_params, include_default
    ):
        self._refuse_collation(model, field)
        yield from super()._iter_column_sql(
            self._type(field), params, model, field, field_db_params, include_default
        )

    def _add_column(self, model, field, db_type):
        table = model._meta.db_table

        def same():
            found = self.catalog.columns(table)[self._column(field)]
            if [found.type] != self.catalog.types([db_type]):
                raise ProgrammingError(
                    f"Column {table}.{field.column} exists already, as {found.shown} and not "
                    f"{db_type}. Drop it, or correct the migration."
                )
            if field.null:
                self.drop_not_null(table, self._column(field))
            return True

        text = self.sql_create_column % {
            "table": self.quote_name(table),
            "column": self.quote_name(field.column),
            "definition": db_type,
        }
        self._unless_done(text, {DUPLICATE_COLUMN}, same)

    def _default(self, field):
        """The column's default as SQL, and whether it is for the migration only."""
        if field.has_db_default():
            sql, params = self.db_default_sql(field)
            return self.connection.ops.compose_sql(sql, params), False
        value = self.effective_default(field)
        if value is None:
            return None, False
        return self.connection.ops.compose_sql(
            self._column_default_sql(field), [value]
        ), True

    def _set_default(self, model, field, default):
        self._alter_column(model, field, f"SET DEFAULT {default}")

    def _alter_column(self, model, field, action):
        self._execute(
            f"ALTER TABLE {self.quote_name(model._meta.db_table)} "
            f"ALTER COLUMN {self.quote_name(field.column)} {action}"
        )

    def _fill(self, model, field, default):
        """Write the default into every row that has no value."""
        column = self.quote_name(field.column)
        assignment, condition = f"{column} = {default}", f"{column} IS NULL"
        table = model._meta.db_table
        if self.collect_sql:
            self.note(f"in batches of {BATCH} rows by primary key, until none is left:")
            self._execute(
                f"UPDATE {self.quote_name(table)} SET {assignment} WHERE {condition}"
            )
            return
        key = [self._column(field) for field in model._meta.pk_fields]
        Rows(self.catalog, table, key).update(assignment, condition)

    def _set_not_null(self, model, field, default=None):
        """A CHECK in the place of SET NOT NULL, which DSQL refuses.

        1. Add it NOT VALID: from here it holds for what is written.
        2. Write the default, if one is given, into the rows that got NULL since the
           caller filled them. The caller does, because a row cannot be changed at all
           while it breaks the CHECK.
        3. Validate it.
        """
        table, column = model._meta.db_table, self._column(field)
        name = self._not_null_name(table, column)
        if name is None:
            return
        check = f"{self.quote_name(column)} IS NOT NULL"
        self._unless_done(
            str(self._create_check_sql(model, name, check)),
            {DUPLICATE_OBJECT},
            lambda: self.catalog.constraint(table, name) is not None,
        )
        if default is not None:
            self._fill(model, field, default)
        self.validate(table, name)

    def _not_null_name(self, table, column):
        """The CHECK the column has or shall have; None when it is marked NOT NULL."""
        if self.collect_sql:
            return marked(self._create_index_name(table, [column]), NOT_NULL_SUFFIX)
        if self.catalog.columns(table)[column].not_null:
            return None
        if checks := self.catalog.not_null_checks(table, column):
            return checks[0]
        return self.free_not_null_name(table, column)

    def free_not_null_name(self, table, column):
        # A column that was renamed keeps the name that its successor would choose.
        base = self._create_index_name(table, [column])
        names = (marked(f"{base}{n or ''}", NOT_NULL_SUFFIX) for n in range(100))
        return next(n for n in names if self.catalog.constraint(table, n) is None)

    def drop_not_null(self, table, column):
        """Take away the mark of the column, or the CHECK that stands for it."""
        quoted = self.quote_name(table)
        alter = (
            f"ALTER TABLE {quoted} ALTER COLUMN {self.quote_name(column)} DROP NOT NULL"
        )
        if self.collect_sql:
            self._execute(alter)
            return
        if self.catalog.columns(table)[column].not_null:
            self._execute(alter)
        for name in self.catalog.not_null_checks(table, column):
            self._execute(
                f"ALTER TABLE {quoted} DROP CONSTRAINT {self.quote_name(name)}"
            )

    def _add_check(self, model, field, check):
        name = self._create_index_name(
            model._meta.db_table, [field.column], suffix="_check"
        )
        self.execute(self._create_check_sql(model, name, check))

    @step
    def remove_field(self, model, field):
        if field.primary_key:
            raise NotSupportedError(
                f"DSQL cannot drop {model._meta.label}.{field.name}: it is the primary key. "
                f"Make a new table without it and copy the rows."
            )
        super().remove_field(model, field)
