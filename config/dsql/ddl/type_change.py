"""The change of a column's type."""

import logging
import time
from collections.abc import Sequence
from typing import Any

from django.db import (
    DataError,
    IntegrityError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)

from ..conflicts import sqlstates
from . import sql
from .batches import IN_BATCHES, ROW_LIMIT, Batches
from .catalog import Catalog, Column
from .catalog import Constraints as TableConstraints
from .constraints import Constraints, NotNull
from .indexes import Indexes
from .replacements import Names, Replacements
from .runner import Runner

logger = logging.getLogger(__name__)
CUTOVER_THRESHOLD = 100  # rows that the last copy may have changed before the cutover
MAX_COPY_PASSES = 5  # copies of the table before the cutover in any case
NEW_SUFFIX, OLD_SUFFIX = "__dsql_new", "__dsql_old"
# Errors that would recur: the change is given up.
PERMANENT_ERRORS = (DataError, IntegrityError, NotSupportedError, ProgrammingError)


class TypeChanges:
    """Gives columns another type, which DSQL's ALTER TABLE cannot."""

    def __init__(
        self,
        runner: Runner,
        catalog: Catalog,
        indexes: Indexes,
        constraints: Constraints,
        not_null: NotNull,
    ) -> None:
        self.runner, self.catalog, self.indexes = runner, catalog, indexes
        self.constraints, self.not_null = constraints, not_null

    def run(self, model: Any, column: str, new_type: str, default: str = "") -> None:
        """Change one; see TypeChange. ``default`` is the column's, as SQL."""
        names = Names(
            model._meta.db_table,
            column,
            sql.mark_name(column, NEW_SUFFIX),
            sql.mark_name(column, OLD_SUFFIX),
        )
        key = [field.column for field in model._meta.pk_fields]
        TypeChange(self, names, key, new_type, default).run()


class TypeChange:
    """Give a column another type.

    1.  The caller has refused what cannot be done and dropped foreign keys to the column.
    2.  Add a column of the new type under a name of its own (``<name>__dsql_new``).
    3.  Copy the values in batches; repeat until a pass changes few rows.
    4.  Build a replacement of every index of plain columns on the new column and wait
        for it, so that uniqueness holds from the cutover on.
    5.  Cut over: rename the old column (to ``<name>__dsql_old``). From here until step 8
        statements that name the column fail.
    6.  Copy what changed since.
    7.  Move NOT NULL to the new column, as a CHECK, and add replacements of the checks
        and foreign keys to it, all NOT VALID: they hold for what is written. Not earlier,
        because until now rows are inserted without a value in the new column.
    8.  Rename the new column to the name. The time since step 5 is logged.
    9.  Record on the old column, as a comment, the original of each replacement.
    10. Build replacements of the remaining indexes and drop the originals of all.
        Validate, and let each replacement take the name of its original: a constraint is
        renamed, an index built again.
    11. Drop the old column.

    Run again after any interruption it continues: the catalog shows which of the three
    columns exist. An error in steps 5 to 8 rolls the cutover back. One of the data, or of
    a constraint that the type does not allow, also drops the new column: the column is as
    it was.
    """

    def __init__(
        self,
        parts: TypeChanges,
        names: Names,
        key: Sequence[str],
        new_type: str,
        default: str,
    ) -> None:
        self.runner, self.catalog = parts.runner, parts.catalog
        self.not_null, self.names = parts.not_null, names
        self.new_type, self.default = new_type, default
        self.cast = sql.cast_type(new_type)
        self.batches = Batches(parts.runner.connection, names.table, key)
        self.replacements = Replacements(
            parts.runner, parts.catalog, parts.indexes, parts.constraints, names
        )

    def run(self) -> None:
        if self.runner.is_collecting:
            self._collect()
            return
        names, columns = self.names, self.catalog.columns(self.names.table)
        current = columns[names.old if names.old in columns else names.column]
        try:
            if current.name == names.column:
                desired = self.catalog.type(self.new_type)
                if current.type == desired:
                    return
                self._prepare(columns, desired)
                self._cut_over(current)
            elif names.column not in columns:
                self._cut_over(current)
        except PERMANENT_ERRORS:
            self._give_up()
            raise
        self.replacements.adopt()
        self._alter(f"DROP COLUMN {self._quote(names.old)}")

    def _prepare(self, columns: dict[str, Column], desired: tuple[int, int]) -> None:
        new = self._quote(self.names.new)
        existing = columns.get(self.names.new)
        if existing is not None and existing.type != desired:
            self._alter(f"DROP COLUMN {new}")
            existing = None
        if existing is None:
            self._alter(f"ADD COLUMN {new} {self.new_type}")
        if self.default:
            self._alter(f"ALTER COLUMN {new} SET DEFAULT {self.default}")
        self._copy_until_few_change()
        if self._build_replacements():
            self._copy_until_few_change()

    def _build_replacements(self) -> bool:
        return self.replacements.build_plain_indexes()

    def _give_up(self) -> None:
        if self.names.column in self.catalog.columns(self.names.table):
            # Its indexes and constraints go with it.
            self._alter(f"DROP COLUMN IF EXISTS {self._quote(self.names.new)}")

    def _copy(self, source: str) -> int:
        new, old = self._quote(self.names.new), self._quote(source)
        return self.batches.update(
            f"{new} = {old}::{self.cast}", f"{new} IS DISTINCT FROM {old}::{self.cast}"
        )

    def _copy_until_few_change(self) -> None:
        for _ in range(MAX_COPY_PASSES):
            if self._copy_any_order(self.names.column) <= CUTOVER_THRESHOLD:
                return

    def _copy_any_order(self, source: str) -> int:
        """As _copy; values that move between rows of a unique column become NULL first."""
        try:
            return self._copy(source)
        except IntegrityError:
            new, old = self._quote(self.names.new), self._quote(source)
            self.batches.update(
                f"{new} = NULL",
                f"{new} IS NOT NULL AND {new} IS DISTINCT FROM {old}::{self.cast}",
            )
            return self._copy(source)

    def _cut_over(self, current: Column) -> None:
        """``current`` is the old column, under the name that it has now."""
        existing = self.catalog.constraints(self.names.table)
        moves = self._move_not_null(existing, current)
        missing = [
            name
            for name in self.replacements.find_missing(existing, current.name)
            if self._drop(name) not in moves
        ]
        began = time.monotonic()
        try:
            if current.name == self.names.column:
                self._rename(self.names.column, self.names.old)
            self._copy_rest()
            self._enforce_constraints(moves, missing)
            self._rename(self.names.new, self.names.column)
        except BaseException:  # also that of Ctrl-C: the column cannot be used
            self._roll_back_cutover()
            raise
        logger.warning(
            "%s.%s has its new type; statements that name it could fail for %.0f ms.",
            self.names.table, self.names.column, (time.monotonic() - began) * 1000,
        )  # fmt: skip

    def _move_not_null(self, existing: TableConstraints, current: Column) -> list[str]:
        """How NOT NULL is taken from the old column and given to the new."""
        actions = [self._drop(name) for name in existing.not_null_checks(current.name)]
        if current.not_null:
            old = self._quote(self.names.old)
            actions.append(f"ALTER COLUMN {old} DROP NOT NULL")
        if actions:
            actions.append(self._add_not_null(self.names.new, existing))
        return actions

    def _add_not_null(self, column: str, existing: TableConstraints) -> str:
        name = self.not_null.free_name(self.names.table, self.names.column, existing)
        check = f"CHECK ({self._quote(column)} IS NOT NULL) NOT VALID"
        return f"ADD CONSTRAINT {self._quote(name)} {check}"

    def _enforce_constraints(self, moves: list[str], missing: list[str]) -> None:
        """Let the new column's constraints hold, by one statement: time is short."""
        actions = list(moves)
        if missing:
            # Only now do their texts have a name of the column that occurs nowhere else.
            originals = self.catalog.constraints(self.names.table).on(self.names.old)
            actions += [
                self.replacements.add_constraint(
                    name, original.definition, self.names.new
                )
                for name, original in originals.items()
                if name in missing
            ]
        if actions:
            self._alter(", ".join(actions))

    def _roll_back_cutover(self) -> None:
        if self.names.column in self.catalog.columns(self.names.table):
            return
        # What holds for the new column would refuse rows that it has no value of.
        existing = self.catalog.constraints(self.names.table)
        actions = [self._drop(name) for name in existing.on(self.names.new)]
        if existing.not_null_checks(self.names.new):
            actions.append(self._add_not_null(self.names.old, existing))
        if actions:
            self._alter(", ".join(actions))
        self._rename(self.names.old, self.names.column)

    def _copy_rest(self) -> None:
        """One statement if there are few rows: the column is missing meanwhile."""
        new, old = self._quote(self.names.new), self._quote(self.names.old)
        text = (
            f"UPDATE {self._quote(self.names.table)} SET {new} = {old}::{self.cast} "
            f"WHERE {new} IS DISTINCT FROM {old}::{self.cast}"
        )
        try:
            self.runner.execute(text)
        except (IntegrityError, OperationalError) as error:
            is_limit = ROW_LIMIT in sqlstates(error)
            if isinstance(error, OperationalError) and not is_limit:
                raise
            self._copy_any_order(self.names.old)

    def _collect(self) -> None:
        """What sqlmigrate prints."""
        names = self.names
        new, old, column = map(self._quote, (names.new, names.old, names.column))
        copy = (
            "UPDATE {table} SET {new} = {source}::{cast} "
            "WHERE {new} IS DISTINCT FROM {source}::{cast}"
        )
        parts = {"table": self._quote(names.table), "new": new, "cast": self.cast}
        self._alter(f"ADD COLUMN {new} {self.new_type}")
        self.runner.note(IN_BATCHES)
        self.runner.execute(copy.format(**parts, source=column))
        self.runner.note(
            "build the column's indexes on the new column and wait for them;"
        )
        self._alter(f"RENAME COLUMN {column} TO {old}")
        self.runner.note("the rows that were written since:")
        self.runner.execute(copy.format(**parts, source=old))
        self.runner.note("enforce the column's constraints on the new column;")
        self._alter(f"RENAME COLUMN {new} TO {column}")
        self.runner.note(
            "give the names of the old indexes and constraints to the new;"
        )
        self._alter(f"DROP COLUMN {old}")

    def _rename(self, name: str, to: str) -> None:
        self._alter(f"RENAME COLUMN {self._quote(name)} TO {self._quote(to)}")

    def _drop(self, constraint: str) -> str:
        return f"DROP CONSTRAINT {self._quote(constraint)}"

    def _alter(self, action: str) -> None:
        self.runner.execute(f"ALTER TABLE {self._quote(self.names.table)} {action}")

    def _quote(self, name: str) -> str:
        return str(self.runner.connection.ops.quote_name(name))
