"""Which steps of a migration are done, stored until the migration is recorded.

The catalog shows whether one step is done, but not what later steps have done to it: a
column that does not exist may have been renamed. So each step of the schema editor is
recorded when it has ended, and a run that was killed leaves its rows behind. The next run
skips the recorded steps; only the step that was under way is judged by the catalog.

A step is known by a digest over its migration and all steps before it. One that created a
table is repeated when the table was dropped by hand since, with all that followed on it;
so it is recorded, too, when the migration itself drops or renames a table.

The journal's table is created by the first step of ``migrate`` and dropped by the
``migrate`` that leaves no migration half done, whichever app it was run for.
"""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.models.signals import post_migrate, pre_migrate

from ..conflicts import sqlstates
from ..deadlines import Limits
from .catalog import Catalog
from .sql import UNDEFINED_TABLE, relation_name

logger = logging.getLogger(__name__)
TABLE = "dsql_migration_steps"
BACKWARDS = "-"  # before the name of a migration that is undone
Applied = set[tuple[str, str]]


class MigrationRun:
    """What a connection knows of the ``migrate`` it serves."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.plan: Sequence[tuple[Any, bool]] = ()  # of the last migrate
        self.journal: Journal | None = None  # of the outermost schema editor

    @property
    def is_active(self) -> bool:
        """Whether it is between pre_migrate and post_migrate; no deadlines then."""
        return self._limits.migrating

    @is_active.setter
    def is_active(self, active: bool) -> None:
        self._limits.migrating = active

    def open_journal(self, connection: Any) -> "Journal | None":
        """The journal for a schema editor that is about to begin, if it is to keep one."""
        if not self.is_active or self.journal is not None:
            return None
        return Journal(connection)

    def close_journal(self, journal: "Journal", *, failed: bool) -> None:
        """Its schema editor has ended; an error ends the whole run."""
        if self.journal is journal:
            self.journal = None
            self.is_active &= not failed

    def reset(self, plan: Sequence[tuple[Any, bool]], *, active: bool) -> None:
        """Another migrate begins; the one before may have ended in an error."""
        self.plan, self.journal, self.is_active = plan, None, active


class Journal:
    """The steps of one schema editor, which applies one migration of the plan."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.catalog = Catalog(connection)
        self.migration = find_current(
            connection.migration_run.plan, _applied(connection)
        )
        self.chain = self.migration
        self.done = self._load()
        self.skipped = 0
        self._lost: set[str] = set()  # tables that were dropped by hand

    def is_done(
        self, step: str, *, table: str | None = None, creates: bool = False
    ) -> bool:
        """Whether an earlier run has completed this step, which follows those before.

        When its table was dropped by hand since, all steps on it are to be done again.
        """
        self.chain = hashlib.sha256(f"{self.chain} {step}".encode()).hexdigest()
        if self.chain not in self.done:
            return False
        if not self.skipped:
            logger.warning(
                "Continuing %s, which was interrupted; its completed steps are in %s.",
                self.migration, TABLE,
            )  # fmt: skip
        self.skipped += 1
        if creates and table is not None and self._is_lost(table):
            logger.warning("Table %s no longer exists; it is created again.", table)
            self._lost.add(table)
        return table not in self._lost

    def record(self) -> None:
        """The step that is_done() was last called for has ended."""
        self._write(self.chain)

    def record_removal(self, table: str) -> None:
        """The migration is about to drop or rename the table."""
        self._write(self._removal(table))

    def _is_lost(self, table: str) -> bool:
        """Whether a table that an earlier run created was dropped by hand."""
        name = relation_name(self.connection.ops.quote_name(table))
        if self._removal(name) in self.done:
            return False
        return not self.catalog.has_table(table)

    def _removal(self, table: str) -> str:
        return hashlib.sha256(f"{self.migration} leaves {table}".encode()).hexdigest()

    def _write(self, step: str) -> None:
        _execute(
            self.connection,
            f"INSERT INTO {TABLE} (step, migration) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [step, self.migration],
        )

    def _load(self) -> set[str]:
        try:
            rows = _rows(self.connection)
        except DatabaseError as error:
            if UNDEFINED_TABLE not in sqlstates(error):
                raise
            _execute(
                self.connection,
                f"CREATE TABLE IF NOT EXISTS {TABLE} "
                f"(step char(64) PRIMARY KEY, migration text NOT NULL)",
            )
            return set()
        return {step for step, migration in rows if migration == self.migration}


def find_current(plan: Iterable[tuple[Any, bool]], applied: Applied) -> str:
    """The plan's first migration that is not recorded yet, as the journal names it."""
    for migration, backwards in plan:
        own = (migration.app_label, migration.name)
        recorded = applied.issuperset(map(tuple, migration.replaces or [own]))
        if recorded == backwards:
            return f"{BACKWARDS * backwards}{migration.app_label}.{migration.name}"
    return ""  # what handlers of post_migrate do


def _has_ended(migration: str, applied: Applied) -> bool:
    if not migration:
        return True
    app, _, name = migration.removeprefix(BACKWARDS).partition(".")
    return ((app, name) in applied) != migration.startswith(BACKWARDS)


def _applied(connection: Any) -> Applied:
    # Not needed to serve: a cold start does without it.
    from django.db.migrations.recorder import MigrationRecorder

    return set(MigrationRecorder(connection).applied_migrations())


def _rows(connection: Any) -> list[tuple[str, str]]:
    return list(_execute(connection, f"SELECT step, migration FROM {TABLE}"))


def _half_done(connection: Any) -> tuple[set[str], set[str]] | None:
    """The migrations with steps in the table, ended and not; None without a table."""
    # Looked for first: a failed query would leave an error line in the user's log.
    if not Catalog(connection).has_table(TABLE):
        return None
    applied = _applied(connection)
    migrations = {migration for _, migration in _rows(connection)}
    ended = {each for each in migrations if _has_ended(each, applied)}
    return ended, migrations - ended


def _execute(connection: Any, sql: str, params: Any = None) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def begin(using: str = DEFAULT_DB_ALIAS, **kwargs: Any) -> None:
    connection: Any = connections[using]
    run: MigrationRun | None = getattr(connection, "migration_run", None)
    plan = kwargs.get("plan") or []
    # Called once for every app, with the same plan.
    if run is None or run.plan is plan:
        return
    run.reset((), active=False)
    begins = bool(plan) and not connection.in_atomic_block
    if begins and (half_done := _half_done(connection)) and half_done[0]:
        # Else they would be taken for steps of a later repetition.
        sql = f"DELETE FROM {TABLE} WHERE migration = ANY (%s)"
        _execute(connection, sql, [sorted(half_done[0])])
    run.reset(plan, active=begins)


def end(using: str = DEFAULT_DB_ALIAS, **kwargs: Any) -> None:
    connection: Any = connections[using]
    run: MigrationRun | None = getattr(connection, "migration_run", None)
    if run is None or connection.in_atomic_block:
        return
    run.is_active = False
    half_done = _half_done(connection)
    if half_done is not None and not half_done[1]:
        _execute(connection, f"DROP TABLE IF EXISTS {TABLE}")


pre_migrate.connect(begin, dispatch_uid=__name__)
post_migrate.connect(end, dispatch_uid=__name__)
