"""Columns that change."""

from django.db import NotSupportedError
from django.db.backends.base.schema import _related_non_m2m_objects
from django.db.backends.ddl_references import Statement

from config.dsql.columns import TypeChange, marked
from config.dsql.ddl.fields import Fields
from config.dsql.ddl.statements import UNDEFINED_COLUMN


class Alterations(Fields):
    def _alter_field(
        self, model, old_field, new_field, old_type, new_type, old_db_params,
        new_db_params, strict=False,
    ):  # fmt: skip
        """Bring a column to what the new field says.

        1. Refuse what DSQL cannot do.
        2. Drop what the new field no longer has: foreign key, unique, index, check.
        3. Rename.
        4. Change the type, see TypeChange; then that of columns that refer to it.
        5. Set or drop the default.
        6. NULL or NOT NULL, writing the default into empty rows first.
        7. Comment.
        8. Add what the new field has: unique, index, foreign keys, check.
        """
        old_type, new_type = self._type(old_field), self._type(new_field)
        self._refuse_alteration(model, old_field, new_field)
        related = self._related_to_change(old_field, new_field, old_type, new_type)
        if old_type != new_type:
            self._refuse_type(model, old_field, old_type, new_type)
            for old_relation, _ in related:
                self._refuse_type(
                    old_relation.related_model, old_relation.field, old_type, new_type
                )
        self._drop_outdated(model, old_field, new_field, related, strict)
        if old_field.column != new_field.column:
            self._rename_column(model, old_field, new_field)
        if old_type != new_type:
            default = self._default(new_field)[0] if new_field.has_db_default() else ""
            TypeChange(self, model, self._column(new_field), new_type, default).run()
        for _, relation in related:
            field = relation.field
            TypeChange(
                self,
                relation.related_model,
                self._column(field),
                self._type(field),
                "",
            ).run()
            if not field.null:
                self._set_not_null(relation.related_model, field)
        self._alter_default(model, old_field, new_field)
        self._alter_null(model, old_field, new_field)
        if old_field.db_comment != new_field.db_comment:
            comment = self._alter_column_comment_sql(
                model, new_field, new_type, new_field.db_comment
            )
            self.execute(*comment)
        elif new_field.db_comment and old_type != new_type:
            self.execute(
                *self._alter_column_comment_sql(
                    model, new_field, new_type, new_field.db_comment
                )
            )
        self._add_missing(
            model, old_field, new_field, old_db_params, new_db_params, related
        )

    def _refuse_alteration(self, model, old_field, new_field):
        where = f"{model._meta.label}.{new_field.name}"
        if old_field.primary_key != new_field.primary_key:
            self._refuse_key(where)
        suffixes = {
            f.db_type_suffix(connection=self.connection) for f in (old_field, new_field)
        }
        if len(suffixes) > 1:
            raise NotSupportedError(
                f"DSQL cannot make {where} an identity column or end its being one. Make a "
                f"new table and copy the rows."
            )
        self._refuse_collation(model, new_field)

    @staticmethod
    def _refuse_key(where):
        raise NotSupportedError(
            f"DSQL cannot change the primary key of a table: {where}. Make a new table "
            f"and copy the rows."
        )

    def _refuse_type(self, model, field, old_type, new_type):
        where, column = f"{model._meta.label}.{field.name}", self._column(field)
        if column in {self._column(member) for member in model._meta.pk_fields}:
            self._refuse_key(where)
        needed = self.catalog.needed_by(model._meta.db_table, column)
        if needed:
            raise NotSupportedError(
                f"The type of {where} cannot change while these need the column: "
                f"{', '.join(needed)}. Remove them first, add them afterwards."
            )
        if not self.catalog.can_copy(old_type, new_type):
            raise NotSupportedError(
                f"The type of {where} cannot change from {old_type} to {new_type}: values "
                f"cannot be cast and compared. Add a new field and fill it by RunPython."
            )

    @staticmethod
    def _related_to_change(old_field, new_field, old_type, new_type):
        both_keys = (old_field.primary_key and new_field.primary_key) or (
            old_field.unique and new_field.unique
        )
        if old_type == new_type or not both_keys:
            return []
        return list(_related_non_m2m_objects(old_field, new_field))

    def _drop_outdated(self, model, old_field, new_field, related, strict):
        alters_key = self._field_should_be_altered(
            old_field, new_field, ignore={"db_comment"}
        )
        if old_field.remote_field and old_field.db_constraint and alters_key:
            self._drop_found(model, old_field, strict, "foreign key", foreign_key=True)
        meta = {constraint.name for constraint in model._meta.constraints}
        if old_field.unique and not new_field.unique:
            self._drop_found(
                model, old_field, strict, "unique",
                unique=True, primary_key=False, exclude=meta,
            )  # fmt: skip
        for _, relation in related:
            self._drop_found(
                relation.related_model,
                relation.field,
                False,
                "foreign key",
                foreign_key=True,
            )
        if (old_field.db_index and not old_field.unique) and (
            not new_field.db_index or new_field.unique
        ):
            exclude = {index.name for index in model._meta.indexes}
            names = self._constraint_names(
                model, [old_field.column], index=True, type_="idx", exclude=exclude
            )
            for name in names:
                self.execute(self._delete_index_sql(model, name))
        old_check = self._field_db_check(old_field, None)
        if old_check and old_check != self._field_db_check(new_field, None):
            self._drop_found(
                model, old_field, strict, "check", check=True, exclude=meta
            )

    def _drop_found(self, model, field, strict, kind, **which):
        names = self._constraint_names(model, [field.column], **which)
        if strict and len(names) != 1:
            raise ValueError(
                f"Found wrong number ({len(names)}) of {kind} constraints for "
                f"{model._meta.db_table}.{field.column}"
            )
        for name in names:
            self.execute(
                self._delete_constraint_sql(self.sql_delete_constraint, model, name)
            )

    def _rename_column(self, model, old_field, new_field):
        table, column = model._meta.db_table, self._column(new_field)
        self._unless_done(
            self._rename_field_sql(table, old_field, new_field, None),
            {UNDEFINED_COLUMN},
            # Under its marked names the column is in the midst of a change of type.
            lambda: (
                {column, marked(column, "__dsql_old")}
                & self.catalog.columns(table).keys()
            ),
        )
        for sql in self.deferred_sql:
            if isinstance(sql, Statement):
                sql.rename_column_references(table, old_field.column, new_field.column)

    def _alter_default(self, model, old_field, new_field):
        if new_field.has_db_default():
            default = self._default(new_field)[0]
            if (
                not old_field.has_db_default()
                or old_field.db_default != new_field.db_default
            ):
                self._set_default(model, new_field, default)
        elif old_field.has_db_default():
            self._alter_column(model, new_field, "DROP DEFAULT")

    def _alter_null(self, model, old_field, new_field):
        if new_field.null:
            if not old_field.null:
                self.drop_not_null(model._meta.db_table, self._column(new_field))
            return
        default, temporary = (
            self._default(new_field) if old_field.null else (None, False)
        )
        try:
            if temporary:
                self._set_default(model, new_field, default)
            if not (new_field.has_default() or new_field.has_db_default()):
                default = None
            if default is not None:
                self._fill(model, new_field, default)
            # In the catalog's eyes a column that changed its type has lost NOT NULL.
            if (
                not self.collect_sql
                or old_field.null
                or self._type(old_field) != self._type(new_field)
            ):
                self._set_not_null(model, new_field, default)
        finally:
            if temporary:
                self._alter_column(model, new_field, "DROP DEFAULT")

    def _add_missing(
        self, model, old_field, new_field, old_params, new_params, related
    ):
        if self._unique_should_be_added(old_field, new_field):
            self.execute(self._create_unique_sql(model, [new_field]))
        if (
            (not old_field.db_index or old_field.unique)
            and new_field.db_index
            and not new_field.unique
        ):
            self.execute(self._create_index_sql(model, fields=[new_field]))
        self._add_foreign_key(model, new_field, "_fk_%(to_table)s_%(to_column)s")
        for _, relation in related:
            self._add_foreign_key(relation.related_model, relation.field, "_fk")
        check = self._field_db_check(new_field, None)
        if check and check != self._field_db_check(old_field, None):
            self._add_check(model, new_field, new_params["check"])

    def _add_foreign_key(self, model, field, suffix):
        """Unless the column has one: an interrupted run may have dropped it."""
        if not field.remote_field or not field.db_constraint:
            return
        found = self._constraint_names(model, [field.column], foreign_key=True)
        if self.collect_sql or not found:
            self.execute(self._create_fk_sql(model, field, suffix))
            return
        for name in found:
            self.validate(model._meta.db_table, name)
