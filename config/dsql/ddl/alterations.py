"""Fields that change: what is refused, dropped, changed and added, in that order."""

from typing import Any

from django.db import NotSupportedError
from django.db.backends.base.schema import (  # type: ignore[attr-defined]  # private
    _related_non_m2m_objects,
)
from django.db.backends.ddl_references import Statement

from . import sql
from .catalog import Catalog
from .columns import Columns, refuse_collation
from .constraints import Constraints, NotNull
from .indexes import Indexes
from .runner import Runner
from .type_change import OLD_SUFFIX, TypeChanges

Relations = list[tuple[Any, Any]]  # of the old and of the new field


class Alterations:
    def __init__(
        self,
        writer: sql.Writer,
        runner: Runner,
        catalog: Catalog,
        indexes: Indexes,
        constraints: Constraints,
        not_null: NotNull,
        columns: Columns,
    ) -> None:
        self.writer, self.runner, self.catalog = writer, runner, catalog
        self.indexes, self.constraints = indexes, constraints
        self.not_null, self.columns = not_null, columns
        self.types = TypeChanges(runner, catalog, indexes, constraints, not_null)

    def alter(
        self,
        model: Any,
        old_field: Any,
        new_field: Any,
        check: str | None,
        strict: bool,
    ) -> None:
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
        types = self.runner.connection.ops.storage_type
        old_type, new_type = types(old_field), types(new_field)
        is_retyped = old_type != new_type
        self._refuse(model, old_field, new_field)
        related = _find_related(old_field, new_field) if is_retyped else []
        if is_retyped:
            self._refuse_type(model, old_field, old_type, new_type)
            for old, _ in related:
                self._refuse_type(old.related_model, old.field, old_type, new_type)
        self._drop_outdated(model, old_field, new_field, related, strict)
        if old_field.column != new_field.column:
            self._rename(model, old_field, new_field)
        if is_retyped:
            self._change_types(model, new_field, new_type, related)
        self._alter_default(model, old_field, new_field)
        self._alter_null(model, old_field, new_field, is_retyped)
        if old_field.db_comment != new_field.db_comment or (
            new_field.db_comment and is_retyped
        ):
            self.columns.comment(model, new_field, new_type)
        self._add_missing(model, old_field, new_field, check, related)

    def _refuse(self, model: Any, old_field: Any, new_field: Any) -> None:
        connection = self.runner.connection
        where = f"{model._meta.label}.{new_field.name}"
        if old_field.primary_key != new_field.primary_key:
            raise _unchangeable_key(where)
        suffixes = {
            field.db_type_suffix(connection=connection)
            for field in (old_field, new_field)
        }
        if len(suffixes) > 1:
            raise NotSupportedError(
                f"DSQL cannot turn {where} into an identity column, or an identity column "
                f"into a plain one. Create a new table and copy the rows."
            )
        refuse_collation(connection, model, new_field)

    def _refuse_type(
        self, model: Any, field: Any, old_type: str, new_type: str
    ) -> None:
        where = f"{model._meta.label}.{field.name}"
        column = sql.unquote(field.column)
        if column in {sql.unquote(member.column) for member in model._meta.pk_fields}:
            raise _unchangeable_key(where)
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

    def _drop_outdated(
        self,
        model: Any,
        old_field: Any,
        new_field: Any,
        related: Relations,
        strict: bool,
    ) -> None:
        writer = self.writer
        alters_key = writer._field_should_be_altered(
            old_field, new_field, ignore={"db_comment"}
        )
        if old_field.remote_field and old_field.db_constraint and alters_key:
            self._drop(model, old_field, strict, "foreign key", foreign_key=True)
        meta = {constraint.name for constraint in model._meta.constraints}
        if old_field.unique and not new_field.unique:
            self._drop(
                model, old_field, strict, "unique",
                unique=True, primary_key=False, exclude=meta,
            )  # fmt: skip
        for _, relation in related:
            self._drop(
                relation.related_model,
                relation.field,
                False,
                "foreign key",
                foreign_key=True,
            )
        if _has_plain_index(old_field) and not _has_plain_index(new_field):
            exclude = {index.name for index in model._meta.indexes}
            names = writer._constraint_names(
                model, [old_field.column], index=True, type_="idx", exclude=exclude
            )
            for name in names:
                self.runner.execute(str(writer._delete_index_sql(model, name)))
        old_check = writer._field_db_check(old_field, None)
        if old_check and old_check != writer._field_db_check(new_field, None):
            self._drop(model, old_field, strict, "check", check=True, exclude=meta)

    def _drop(
        self, model: Any, field: Any, strict: bool, kind: str, **which: Any
    ) -> None:
        """Drop the constraints of the column that are in the catalog."""
        names = self.writer._constraint_names(model, [field.column], **which)
        if strict and len(names) != 1:
            raise ValueError(
                f"Found wrong number ({len(names)}) of {kind} constraints for "
                f"{model._meta.db_table}.{field.column}"
            )
        for name in names:
            self.constraints.drop(
                self.writer._delete_constraint_sql(sql.DROP_CONSTRAINT, model, name)
            )

    def _rename(self, model: Any, old_field: Any, new_field: Any) -> None:
        table, column = model._meta.db_table, sql.unquote(new_field.column)
        # Under its marked name the column is in the midst of a change of type.
        renamed = {column, sql.mark_name(column, OLD_SUFFIX)}
        self.runner.execute_unless_done(
            self.writer._rename_field_sql(table, old_field, new_field, None),
            {sql.UNDEFINED_COLUMN},
            lambda: not renamed.isdisjoint(self.catalog.columns(table)),
        )
        for statement in self.writer.deferred_sql:
            if isinstance(statement, Statement):
                statement.rename_column_references(
                    table, old_field.column, new_field.column
                )

    def _change_types(
        self, model: Any, new_field: Any, new_type: str, related: Relations
    ) -> None:
        has_default = new_field.has_db_default()
        default = self.columns.read_default(new_field)[0] if has_default else None
        self.types.run(model, sql.unquote(new_field.column), new_type, default or "")
        for _, relation in related:
            field, referring = relation.field, relation.related_model
            db_type = self.runner.connection.ops.storage_type(field)
            self.types.run(referring, sql.unquote(field.column), db_type)
            if not field.null:
                self.columns.set_not_null(referring, field)

    def _alter_default(self, model: Any, old_field: Any, new_field: Any) -> None:
        if new_field.has_db_default():
            is_same = (
                old_field.has_db_default()
                and old_field.db_default == new_field.db_default
            )
            if not is_same:
                default, _ = self.columns.read_default(new_field)
                self.columns.set_default(model, new_field, default)
        elif old_field.has_db_default():
            self.columns.drop_default(model, new_field)

    def _alter_null(
        self, model: Any, old_field: Any, new_field: Any, is_retyped: bool
    ) -> None:
        if new_field.null:
            if not old_field.null:
                self.not_null.drop(model._meta.db_table, sql.unquote(new_field.column))
            return
        default, is_temporary = (
            self.columns.read_default(new_field) if old_field.null else (None, False)
        )
        try:
            if is_temporary:
                self.columns.set_default(model, new_field, default)
            if not (new_field.has_default() or new_field.has_db_default()):
                default = None
            if default is not None:
                self.columns.fill(model, new_field, default)
            # In the catalog's eyes a column that changed its type has lost NOT NULL.
            if not self.runner.is_collecting or old_field.null or is_retyped:
                self.columns.set_not_null(model, new_field, default)
        finally:
            if is_temporary:
                self.columns.drop_default(model, new_field)

    def _add_missing(
        self,
        model: Any,
        old_field: Any,
        new_field: Any,
        check: str | None,
        related: Relations,
    ) -> None:
        writer = self.writer
        if writer._unique_should_be_added(old_field, new_field):
            self.constraints.add_unique(writer._create_unique_sql(model, [new_field]))
        if _has_plain_index(new_field) and not _has_plain_index(old_field):
            self.indexes.add(writer._create_index_sql(model, fields=[new_field]))
        self._add_foreign_key(model, new_field, "_fk_%(to_table)s_%(to_column)s")
        for _, relation in related:
            self._add_foreign_key(relation.related_model, relation.field, "_fk")
        new_check = writer._field_db_check(new_field, None)
        if check and new_check and new_check != writer._field_db_check(old_field, None):
            self.columns.add_check(model, new_field, check)

    def _add_foreign_key(self, model: Any, field: Any, suffix: str) -> None:
        """Unless the column has one: an interrupted run may have dropped it."""
        if not field.remote_field or not field.db_constraint:
            return
        names = self.writer._constraint_names(model, [field.column], foreign_key=True)
        if self.runner.is_collecting or not names:
            self.constraints.add(self.writer._create_fk_sql(model, field, suffix))
            return
        for name in names:
            self.constraints.validate(model._meta.db_table, name)


def _has_plain_index(field: Any) -> bool:
    return bool(field.db_index and not field.unique)


def _find_related(old_field: Any, new_field: Any) -> Relations:
    """The foreign keys to the field, whose type changes with it."""
    are_keys = (old_field.primary_key and new_field.primary_key) or (
        old_field.unique and new_field.unique
    )
    return list(_related_non_m2m_objects(old_field, new_field)) if are_keys else []


def _unchangeable_key(where: str) -> NotSupportedError:
    return NotSupportedError(
        f"DSQL cannot change the primary key of a table: {where}. Create a new table "
        f"and copy the rows."
    )
