"""Columns: added, filled, given a default."""

from typing import Any

from django.db import IntegrityError, NotSupportedError, ProgrammingError

from . import sql
from .batches import IN_BATCHES, Batches
from .catalog import Catalog
from .constraints import Constraints, NotNull
from .runner import Runner
from .tables import Tables


def refuse_collation(connection: Any, model: Any, field: Any) -> None:
    collation = field.db_parameters(connection=connection).get("collation")
    if collation not in (None, "C"):
        raise NotSupportedError(
            f"DSQL has the collation C only: remove db_collation={collation!r} from "
            f"{model._meta.label}.{field.name}."
        )


class Columns:
    def __init__(
        self,
        writer: sql.Writer,
        runner: Runner,
        catalog: Catalog,
        tables: Tables,
        constraints: Constraints,
        not_null: NotNull,
    ) -> None:
        self.writer, self.runner, self.catalog = writer, runner, catalog
        self.tables, self.constraints, self.not_null = tables, constraints, not_null

    def add(self, model: Any, field: Any, check: str | None) -> None:
        """Add a column.

        1. Refuse what cannot be added: identity, generated and primary key columns, and
           NOT NULL without a default when there are rows.
        2. ADD COLUMN with name and type; DSQL takes nothing else. A column that a run
           left which ended in an error, perhaps as NOT NULL, is adopted.
        3. SET DEFAULT: the field's db_default, or during the migration its default, so
           that rows inserted meanwhile have a value.
        4. Write the default into the existing rows in batches.
        5. NOT NULL as a CHECK that is validated; drop a temporary default.
        6. CHECK, comment, UNIQUE.
        7. Foreign key, unless its table is created later; the index at the end.
        """
        self._refuse(model, field)
        self._add(model, field, self.runner.connection.ops.storage_type(field))
        default, is_temporary = self.read_default(field)
        try:
            if default is not None:
                self.set_default(model, field, default)
                self.fill(model, field, default)
            if not field.null:
                self.set_not_null(model, field)
        finally:
            if is_temporary:
                self.drop_default(model, field)
        self._finish(model, field, check)

    def _refuse(self, model: Any, field: Any) -> None:
        connection, what = self.runner.connection, ""
        if field.primary_key:
            what = "a primary key"
        elif field.generated:
            what = "a generated column"
        elif field.db_type_suffix(connection=connection):
            what = "an identity column"
        if what:
            raise NotSupportedError(
                f"DSQL cannot add {what} to a table: {model._meta.label}.{field.name}. "
                f"Create a new table with it and copy the rows."
            )
        refuse_collation(connection, model, field)
        default, _ = self.read_default(field)
        if self.runner.is_collecting or field.null or default is not None:
            return
        table, column = model._meta.db_table, sql.unquote(field.column)
        is_new = column not in self.catalog.columns(table)
        if is_new and self.catalog.has_rows(table):
            raise IntegrityError(
                f"{model._meta.label}.{field.name} is NOT NULL without a default, and "
                f"{table} has rows. Nothing was changed; give the field a default."
            )

    def _add(self, model: Any, field: Any, db_type: str) -> None:
        table, column = model._meta.db_table, sql.unquote(field.column)

        def is_done() -> bool:
            existing = self.catalog.columns(table)[column]
            if existing.type != self.catalog.type(db_type):
                raise ProgrammingError(
                    f"Column {table}.{field.column} already exists, as {existing.shown} and "
                    f"not {db_type}. Drop it, or correct the migration."
                )
            if field.null:
                self.not_null.drop(table, column)
            return True

        text = sql.ADD_COLUMN % {
            "table": self.writer.quote_name(table),
            "column": self.writer.quote_name(field.column),
            "definition": db_type,
        }
        self.runner.execute_unless_done(text, {sql.DUPLICATE_COLUMN}, is_done)

    def _finish(self, model: Any, field: Any, check: str | None) -> None:
        if check:
            self.add_check(model, field, check)
        if field.db_comment:
            self.comment(model, field, None)
        if field.unique:
            self.constraints.add_unique(self.writer._create_unique_sql(model, [field]))
        if field.remote_field and field.db_constraint:
            suffix = "_fk_%(to_table)s_%(to_column)s"
            key = self.writer._create_fk_sql(model, field, suffix)
            if self.tables.exists(field.target_field.model._meta.db_table):
                self.constraints.add(key)
            else:
                self.writer.deferred_sql.append(key)
        self.writer.deferred_sql.extend(self.writer._field_indexes_sql(model, field))

    def read_default(self, field: Any) -> tuple[str | None, bool]:
        """The column's default as SQL, and whether it is for the migration only."""
        if field.has_db_default():
            text, params = self.writer.db_default_sql(field)
            return self.runner.compose(text, params), False
        value = self.writer.effective_default(field)
        if value is None:
            return None, False
        text = self.writer._column_default_sql(field)
        return self.runner.compose(text, [value]), True

    def set_default(self, model: Any, field: Any, default: str | None) -> None:
        self._alter(model, field, f"SET DEFAULT {default}")

    def drop_default(self, model: Any, field: Any) -> None:
        self._alter(model, field, "DROP DEFAULT")

    def _alter(self, model: Any, field: Any, action: str) -> None:
        quote = self.writer.quote_name
        self.runner.execute(
            f"ALTER TABLE {quote(model._meta.db_table)} "
            f"ALTER COLUMN {quote(field.column)} {action}"
        )

    def fill(self, model: Any, field: Any, default: str) -> None:
        """Write the default into every row that has no value."""
        quote, table = self.writer.quote_name, model._meta.db_table
        column = quote(field.column)
        assignment, condition = f"{column} = {default}", f"{column} IS NULL"
        if self.runner.is_collecting:
            self.runner.note(IN_BATCHES)
            self.runner.execute(
                f"UPDATE {quote(table)} SET {assignment} WHERE {condition}"
            )
            return
        key = [sql.unquote(member.column) for member in model._meta.pk_fields]
        Batches(self.runner.connection, table, key).update(assignment, condition)

    def set_not_null(self, model: Any, field: Any, default: str | None = None) -> None:
        """NOT NULL; the default, if one is given, for rows that got NULL meanwhile."""

        def fill() -> None:
            if default is not None:
                self.fill(model, field, default)

        self.not_null.add(model._meta.db_table, sql.unquote(field.column), fill)

    def add_check(self, model: Any, field: Any, check: str) -> None:
        name = self.writer._create_index_name(
            model._meta.db_table, [field.column], suffix="_check"
        )
        self.constraints.add(self.writer._create_check_sql(model, name, check))

    def comment(self, model: Any, field: Any, db_type: str | None) -> None:
        text, params = self.writer._alter_column_comment_sql(
            model, field, db_type, field.db_comment
        )
        self.runner.execute(self.runner.compose(text, params))
