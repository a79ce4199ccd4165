"""Constraints of tables that exist: added, validated, dropped; NOT NULL as a CHECK."""

from collections.abc import Callable
from itertools import count
from typing import Any

from django.db import IntegrityError, ProgrammingError
from django.db.backends.ddl_references import Statement

from . import sql
from .catalog import NOT_NULL_SUFFIX, Catalog
from .catalog import Constraints as TableConstraints
from .indexes import WAIT, Indexes
from .probe import PROBE, Probe
from .runner import JobFailed, Runner


class Constraints:
    def __init__(
        self, runner: Runner, catalog: Catalog, probe: Probe, indexes: Indexes
    ) -> None:
        self.runner, self.catalog = runner, catalog
        self.probe, self.indexes = probe, indexes

    def add_unique(self, statement: Statement) -> None:
        """UNIQUE for an existing table.

        1. Build a unique index of the constraint's name and wait until it is valid.
        2. Make it the constraint's.
        """
        parts: dict[str, Any] = statement.parts
        table, name = parts["table"].table, sql.unquote(parts["name"])
        index = Statement(
            sql.CREATE_UNIQUE_INDEX, **{**parts, "include": "", "condition": ""}
        )
        collecting = self.runner.is_collecting
        if not collecting and self.catalog.constraint(table, name) is not None:
            self._require_same_unique(statement, name, str(index))
            return
        self.indexes.build(str(index), name, table, index)
        self.runner.execute(sql.USE_INDEX % parts)

    def _require_same_unique(self, statement: Statement, name: str, text: str) -> None:
        parts: dict[str, Any] = statement.parts
        table, deferral = parts["table"].table, str(parts["deferrable"])
        index = self.catalog.index(table, name)
        if index is None or index.deferral != deferral:
            definition = self.catalog.definition(table, name)
            raise _different(name, definition, statement)
        self.indexes.require_same(index, table, text)

    def add(self, statement: Statement) -> None:
        """CHECK or FOREIGN KEY for an existing table.

        1. Add it NOT VALID: from here it holds for what is written.
        2. Validate it in a job, and wait.
        3. If rows break it, drop it and raise IntegrityError.
        """
        parts: dict[str, Any] = statement.parts
        table, name = parts["table"].table, sql.unquote(parts["name"])

        def is_done() -> bool:
            self._require_same(statement, table, name)
            return True

        self.runner.execute_unless_done(str(statement), {sql.DUPLICATE_OBJECT}, is_done)
        self.validate(table, name)

    def _require_same(self, statement: Statement, table: str, name: str) -> None:
        """Raise ProgrammingError unless the statement would add the one that exists."""
        parts: dict[str, Any] = statement.parts
        existing = self.catalog.definition(table, name)
        # Enough for NOT NULL, which is added again and again.
        if sql.is_same_text(existing, f"CHECK (({parts.get('check')}))"):
            return
        desired = self.probe.read(
            lambda: self.catalog.definition(PROBE, name),
            self.probe.create_without_rows(table),
            statement.template % {**parts, "table": PROBE},
        )
        if existing != desired:
            raise _different(name, existing, statement)

    def validate(self, table: str, name: str) -> None:
        """Validate a constraint, unless it is; drop it when the rows break it."""
        quote = self.runner.connection.ops.quote_name
        parts = {"table": quote(table), "name": quote(name)}
        if not self.runner.is_collecting:
            existing = self.catalog.constraint(table, name)
            if existing is not None and existing.valid:
                return
        try:
            self.runner.execute(sql.VALIDATE_CONSTRAINT % parts)
        except (IntegrityError, JobFailed) as error:
            existing = self.catalog.constraint(table, name)
            if existing is not None and not existing.valid:
                self.runner.execute(sql.DROP_CONSTRAINT % parts)
            raise IntegrityError(
                f"Constraint {name} does not hold and was dropped: {error}"
            ) from error
        self.runner.note(WAIT)

    def validate_raw(self, text: str) -> None:
        """VALIDATE CONSTRAINT of raw SQL: a constraint that does not hold stays."""
        try:
            self.runner.execute(text)
        except JobFailed as error:
            raise IntegrityError(str(error)) from error

    def drop(self, statement: Statement) -> None:
        parts: dict[str, Any] = statement.parts
        table, name = parts["table"].table, sql.unquote(parts["name"])
        self.runner.execute_unless_done(
            str(statement),
            {sql.UNDEFINED_OBJECT},
            lambda: self.catalog.constraint(table, name) is None,
        )


class NotNull:
    """NOT NULL of a column: its mark, or a CHECK, which can be added later."""

    def __init__(
        self,
        runner: Runner,
        catalog: Catalog,
        constraints: Constraints,
        create_name: Callable[[str, list[str]], str],
    ) -> None:
        self.runner, self.catalog, self.constraints = runner, catalog, constraints
        self._create_name = create_name  # as Django names an index of the columns

    def add(self, table: str, column: str, fill: Callable[[], None]) -> None:
        """A CHECK in the place of SET NOT NULL, which DSQL refuses.

        1. Add it NOT VALID: from here it holds for what is written.
        2. Let ``fill`` write a value into the rows that got NULL since the caller filled
           them. The caller does, because a row cannot be changed at all while it breaks
           the CHECK.
        3. Validate it.
        """
        quote = self.runner.connection.ops.quote_name
        existing = TableConstraints()
        if not self.runner.is_collecting:
            if self.catalog.columns(table)[column].not_null:
                return
            existing = self.catalog.constraints(table)
        checks = existing.not_null_checks(column)
        name = checks[0] if checks else self.free_name(table, column, existing)
        if not checks:
            parts = {"table": quote(table), "name": quote(name)}
            self.runner.execute_unless_done(
                sql.ADD_CHECK % {**parts, "check": f"{quote(column)} IS NOT NULL"},
                {sql.DUPLICATE_OBJECT},
                lambda: self.catalog.constraint(table, name) is not None,
            )
        fill()
        self.constraints.validate(table, name)

    def free_name(self, table: str, column: str, taken: TableConstraints) -> str:
        """The name of a new CHECK; ``taken`` are the table's constraints."""
        # A column that was renamed keeps the name that its successor would choose.
        base = self._create_name(table, [column])
        names = (sql.mark_name(f"{base}{n or ''}", NOT_NULL_SUFFIX) for n in count())
        return next(name for name in names if name not in taken)

    def drop(self, table: str, column: str) -> None:
        """Take away the mark of the column, or the CHECK that stands for it."""
        quote = self.runner.connection.ops.quote_name
        alter = f"ALTER TABLE {quote(table)} ALTER COLUMN {quote(column)} DROP NOT NULL"
        if self.runner.is_collecting:
            self.runner.execute(alter)
            return
        if self.catalog.columns(table)[column].not_null:
            self.runner.execute(alter)
        for name in self.catalog.constraints(table).not_null_checks(column):
            self.runner.execute(
                sql.DROP_CONSTRAINT % {"table": quote(table), "name": quote(name)}
            )


def _different(name: str, existing: str, statement: Statement) -> ProgrammingError:
    return ProgrammingError(
        f"Constraint {name} already exists with a different definition. "
        f"Found: {existing}. Expected: {statement}"
    )
