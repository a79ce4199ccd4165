"""DDL as DSQL takes it: one statement per transaction, indexes built in the background.

No operation can be rolled back, so each can be run again: a statement whose effect the
catalog already shows is skipped, one that finds something else fails. ``migrate`` also
keeps a journal of the steps that have ended (ddl/journal.py). A migration that was killed
is continued by the next ``migrate``.

Here are the methods that Django calls. The parts that they delegate to are in ddl/.
"""

from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

from django.db import NotSupportedError
from django.db.backends.ddl_references import Columns as ColumnNames
from django.db.backends.postgresql import schema
from django.db.backends.utils import names_digest

from .ddl import sql
from .ddl.alterations import Alterations
from .ddl.catalog import Catalog
from .ddl.columns import Columns, refuse_collation
from .ddl.constraints import Constraints, NotNull
from .ddl.dispatch import Dispatcher
from .ddl.index_keys import plain_keys, refuse_method, refuse_opclasses
from .ddl.indexes import Indexes
from .ddl.probe import Probe
from .ddl.runner import Runner, step
from .ddl.same_type import has_type
from .ddl.tables import Tables


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    connection: Any
    runner_class = Runner

    sql_create_fk = sql.ADD_FOREIGN_KEY
    sql_create_check = sql.ADD_CHECK
    sql_delete_fk = sql.DROP_CONSTRAINT
    sql_delete_column = sql.DROP_COLUMN
    sql_delete_index_concurrently = schema.DatabaseSchemaEditor.sql_delete_index
    sql_create_index = sql.CREATE_INDEX
    sql_create_index_concurrently = sql.CREATE_INDEX
    sql_create_unique_index = sql.CREATE_UNIQUE_INDEX

    create_model = step(schema.DatabaseSchemaEditor.create_model)
    add_index = step(schema.DatabaseSchemaEditor.add_index)
    remove_index = step(schema.DatabaseSchemaEditor.remove_index)
    add_constraint = step(schema.DatabaseSchemaEditor.add_constraint)
    remove_constraint = step(schema.DatabaseSchemaEditor.remove_constraint)
    alter_field = step(schema.DatabaseSchemaEditor.alter_field)
    alter_db_table_comment = step(schema.DatabaseSchemaEditor.alter_db_table_comment)

    def __init__(
        self, connection: Any, collect_sql: bool = False, atomic: bool = True
    ) -> None:
        super().__init__(connection, collect_sql, atomic)
        # The stubs lack Django's underscored methods.
        self.writer = writer = cast("sql.Writer", self)
        catalog = Catalog(connection)
        runner = self.runner_class(
            connection, self.collected_sql if collect_sql else None
        )
        probe = Probe(runner, catalog)
        self.runner, self.catalog = runner, catalog
        self.tables = Tables(writer, runner, catalog, probe)
        self.indexes = Indexes(runner, catalog, probe)
        self.constraints = Constraints(runner, catalog, probe, self.indexes)
        not_null = NotNull(runner, catalog, self.constraints, writer._create_index_name)
        self.columns = Columns(
            writer, runner, catalog, self.tables, self.constraints, not_null
        )
        self.alterations = Alterations(
            writer, runner, catalog, self.indexes, self.constraints, not_null,
            self.columns,
        )  # fmt: skip
        self.dispatcher = Dispatcher(
            runner, self.tables, self.indexes, self.constraints
        )

    def __enter__(self) -> Self:
        run = self.connection.migration_run
        journal = None if self.collect_sql else run.open_journal(self.connection)
        entered = super().__enter__()
        if journal is not None:
            run.journal = self.runner.journal = journal
        self.connection.limits.suspended += 1
        return entered

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Run what was deferred; plain indexes are built side by side."""
        journal, self.runner.journal = self.runner.journal, None
        if journal is not None:
            self.connection.migration_run.close_journal(
                journal, failed=exc_type is not None
            )
        try:
            with self.indexes.side_by_side():
                super().__exit__(exc_type, exc_value, traceback)
        finally:
            self.connection.limits.suspended -= 1

    def execute(self, sql: Any, params: Sequence[Any] | None = ()) -> None:
        """Run one statement in its own transaction; wait for the job it starts.

        DML of a migration's is part of the atomic block that is open. Raises
        IntegrityError when a unique index could not be built or a constraint does not hold.
        """
        if self.collect_sql or not has_type(self.connection, sql):
            self._execute(sql, params)

    @step
    def _execute(self, sql: Any, params: Sequence[Any] | None) -> None:
        self.dispatcher.execute(sql, params)

    # Tables

    def table_sql(self, model: Any) -> tuple[str, list[Any]]:
        """CREATE TABLE with every constraint that can stand in it.

        1. Refuse an index that cannot be built, before there is a table.
        2. Let Django write the table; it defers foreign keys and unique_together.
        3. Put what it deferred into the statement, see Tables.complete.
        """
        self.writer._model_indexes_sql(model)
        deferred, self.deferred_sql = self.deferred_sql, []
        try:
            text, params = super().table_sql(model)
            constraints = self.deferred_sql
        finally:
            self.deferred_sql = deferred
        text = self.runner.compose(text, params or None)
        return self.tables.complete(model, text, constraints), []

    @step
    def delete_model(self, model: Any) -> None:
        delete = partial(super().delete_model, model)
        self.tables.remove(model._meta.db_table, delete)

    @step
    def alter_db_table(self, model: Any, old_db_table: str, new_db_table: str) -> None:
        rename = partial(super().alter_db_table, model, old_db_table, new_db_table)
        self.tables.rename(new_db_table, rename)

    # Columns

    def _iter_column_sql(
        self,
        column_db_type: str,
        params: list[Any],
        model: Any,
        field: Any,
        field_db_params: Any,
        include_default: bool,
    ) -> Any:
        refuse_collation(self.connection, model, field)
        column_db_type = self.connection.ops.storage_type(field)
        return super()._iter_column_sql(  # type: ignore[misc]  # not in the stubs
            column_db_type, params, model, field, field_db_params, include_default
        )

    def _collate_sql(
        self,
        collation: str | None,
        old_collation: str | None = None,
        table_name: str | None = None,
    ) -> str:
        return ""

    @step
    def add_field(self, model: Any, field: Any) -> None:
        if field.many_to_many and field.remote_field.through._meta.auto_created:
            self.create_model(field.remote_field.through)
            return
        params = field.db_parameters(connection=self.connection)
        if params["type"] is not None:
            self.columns.add(model, field, params["check"])

    @step
    def remove_field(self, model: Any, field: Any) -> None:
        if field.primary_key:
            raise NotSupportedError(
                f"DSQL cannot drop {model._meta.label}.{field.name}: it is the primary key. "
                f"Create a new table without it and copy the rows."
            )
        super().remove_field(model, field)

    def _alter_field(
        self,
        model: Any,
        old_field: Any,
        new_field: Any,
        old_type: str,
        new_type: str,
        old_db_params: Any,
        new_db_params: Any,
        strict: bool = False,
    ) -> None:
        self.alterations.alter(
            model, old_field, new_field, new_db_params["check"], strict
        )

    # Indexes and constraints

    def rename_index(self, model: Any, old_index: Any, new_index: Any) -> None:
        # By keyword: a step is not known by what an interrupted run may have dropped.
        self._replace_index(model, new_index, old_index=old_index)

    @step
    def _replace_index(self, model: Any, new_index: Any, *, old_index: Any) -> None:
        """An index cannot be renamed: build the new one, then drop the old one."""
        self.add_index(model, new_index)
        self.remove_index(model, old_index)

    @step
    def alter_unique_together(
        self, model: Any, old_unique_together: Any, new_unique_together: Any
    ) -> None:
        existing = self._find_existing(
            model, old_unique_together, new_unique_together,
            unique=True, primary_key=False,
        )  # fmt: skip
        super().alter_unique_together(model, existing, new_unique_together)

    @step
    def alter_index_together(
        self, model: Any, old_index_together: Any, new_index_together: Any
    ) -> None:
        existing = self._find_existing(
            model, old_index_together, new_index_together, index=True, unique=False
        )
        super().alter_index_together(model, existing, new_index_together)

    def _find_existing(self, model: Any, olds: Any, news: Any, **kind: Any) -> Any:
        """``olds`` without those an interrupted run has removed."""
        if self.runner.is_collecting:
            # A step that is replayed has nothing left to remove.
            return news if self.runner.is_replaying else olds
        kept = {tuple(fields) for fields in news}
        # As Django looks for what it removes.
        named = {each.name for each in (*model._meta.constraints, *model._meta.indexes)}
        return [
            fields
            for fields in olds
            if tuple(fields) in kept
            or self._constraint_names(
                model,
                [model._meta.get_field(field).column for field in fields],
                exclude=named,
                **kind,
            )
        ]

    def _constraint_names(
        self, model: Any, column_names: Any = None, **which: Any
    ) -> list[str]:
        """Without what a RenameIndex has made, when it asks for the index to rename.

        It wants one: where an interrupted run has dropped it, the name it must have had.
        """
        if exclude := which.get("exclude"):  # names of the model's, not the catalog's
            which["exclude"] = {sql.cut_name(name) for name in exclude}
        names: list[str] = super()._constraint_names(  # type: ignore[misc]  # not in the stubs
            model, column_names, **which
        )
        if which != {"index": True, "unique": False}:
            return names
        renamed = {
            operation.new_name
            for migration, _ in self.connection.migration_run.plan
            for operation in migration.operations
            if getattr(operation, "old_fields", None)
        }
        originals = [name for name in names if name not in renamed]
        journal = self.runner.journal
        is_resumed = journal is not None and bool(journal.done)
        if originals or not (names or is_resumed):
            return originals
        table = model._meta.db_table
        return [self.writer._create_index_name(table, column_names, "_idx")]

    def _create_index_name(
        self, table_name: str, column_names: Sequence[str], suffix: str = ""
    ) -> str:
        """Django's own, which counts characters, unless PostgreSQL would cut it."""
        name: str = super()._create_index_name(  # type: ignore[misc]  # not in the stubs
            table_name, column_names, suffix
        )
        if sql.cut_name(name) == name:
            return name
        digest = names_digest(table_name, *column_names, length=8)
        mark = sql.cut_name(f"_{digest}{suffix}", sql.NAME_LENGTH // 2)
        return sql.mark_name("_".join([table_name, *column_names]), mark)

    def _create_index_sql(
        self,
        model: Any,
        *,
        using: str = "",
        expressions: Any = None,
        opclasses: Sequence[str] = (),
        **kwargs: Any,
    ) -> Any:
        refuse_method(model, using)
        refuse_opclasses(model, opclasses)
        expressions = plain_keys(model, expressions)
        return super()._create_index_sql(  # type: ignore[misc]  # not in the stubs
            model, expressions=expressions, **kwargs
        )

    def _create_unique_sql(
        self,
        model: Any,
        fields: Any,
        *args: Any,
        expressions: Any = None,
        opclasses: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> Any:
        refuse_opclasses(model, opclasses or ())
        expressions = plain_keys(model, expressions)
        return super()._create_unique_sql(  # type: ignore[misc]  # not in the stubs
            model, fields, *args, expressions=expressions, opclasses=(), **kwargs
        )

    def _delete_unique_sql(
        self, model: Any, name: str, *args: Any, opclasses: Any = None, **kwargs: Any
    ) -> Any:
        # Created without them, it is a constraint.
        return super()._delete_unique_sql(  # type: ignore[misc]  # not in the stubs
            model, name, *args, **kwargs
        )

    def _index_columns(
        self, table: str, columns: Any, col_suffixes: Any, opclasses: Any
    ) -> ColumnNames:
        return ColumnNames(table, columns, self.quote_name)

    def _create_like_index_sql(self, model: Any, field: Any) -> None:
        """None: under the C collation every index serves LIKE."""
