"""Which steps of a migration are done, kept until the migration is recorded.

The catalog shows whether one step is done, but not what later steps have made of it: a
column that is gone may have been renamed. So each step of the schema editor is written
down when it has ended, and a run that was killed leaves its rows behind. The next run
skips what stands in them; only the step that was under way is judged by the catalog.

A step is known by a digest over its migration and all steps before it. One that made a
table is done again when the table was dropped by hand since, with all that followed on
it; so it is written down, too, when the migration itself drops or renames a table.

The journal's table is made by the first step of ``migrate`` and dropped by the
``migrate`` that leaves no migration half done, whichever app it was run for.
"""

import hashlib
import logging
from collections.abc import Iterable
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.models.signals import post_migrate, pre_migrate

from config.dsql.catalog import Catalog
from config.dsql.conflicts import sqlstates
from config.dsql.retry import run_statement

logger = logging.getLogger(__name__)
TABLE = "dsql_migration_steps"
UNDEFINED_TABLE = "42P01"
BACKWARDS = "-"  # before the name of a migration that is undone
Applied = set[tuple[str, str]]


class Journal:
    """The steps of one schema editor, which applies one migration of the plan."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.migration = current(connection.migration_plan, _applied(connection))
        self.chain = self.migration
        self.done = self._load()
        self.skipped = 0

    def is_done(self, step: str) -> bool:
        """Whether an earlier run has ended this step, which comes after those before."""
        self.chain = hashlib.sha256(f"{self.chain} {step}".encode()).hexdigest()
        if self.chain not in self.done:
            return False
        if not self.skipped:
            logger.warning(
                "Continuing %s, which was interrupted; its done steps stand in %s.",
                self.migration, TABLE,
            )  # fmt: skip
        self.skipped += 1
        return True

    def record(self) -> None:
        """The step asked for last has ended."""
        self._write(self.chain)

    def leaves(self, table: str) -> None:
        """The migration is about to drop or rename the table."""
        self._write(self._leaving(table))

    def has_left(self, table: str) -> bool:
        """Whether the migration itself may be why the table is not there."""
        return self._leaving(table) in self.done

    def _leaving(self, table: str) -> str:
        return hashlib.sha256(f"{self.migration} leaves {table}".encode()).hexdigest()

    def _write(self, step: str) -> None:
        _run(
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
            _run(
                self.connection,
                f"CREATE TABLE IF NOT EXISTS {TABLE} "
                f"(step char(64) PRIMARY KEY, migration text NOT NULL)",
            )
            return set()
        return {step for step, migration in rows if migration == self.migration}


def current(plan: Iterable[tuple[Any, bool]], applied: Applied) -> str:
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

    recorder = MigrationRecorder(connection)
    return set(run_statement(recorder.applied_migrations, using=connection.alias))


def _rows(connection: Any) -> list[tuple[str, str]]:
    return list(_run(connection, f"SELECT step, migration FROM {TABLE}"))


def _half_done(connection: Any) -> tuple[set[str], set[str]] | None:
    """The migrations whose steps stand in the table, ended and not; None without one."""
    # Looked for first: an error would do, but not in somebody's log.
    if not Catalog(connection).has_table(TABLE):
        return None
    applied = _applied(connection)
    found = {migration for _, migration in _rows(connection)}
    ended = {migration for migration in found if _has_ended(migration, applied)}
    return ended, found - ended


def _run(connection: Any, sql: str, params: Any = None) -> Any:
    def work() -> Any:
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall() if cursor.description else []

    return run_statement(work, using=connection.alias)


def begin(using: str = DEFAULT_DB_ALIAS, **kwargs: Any) -> None:
    connection: Any = connections[using]
    plan = kwargs.get("plan") or []
    # Called once for every app, with the same plan.
    if not hasattr(connection, "migrating") or connection.migration_plan is plan:
        return
    connection.migrating = False  # of a run that ended in an error,
    connection.editor = None  # as this
    begins = bool(plan) and not connection.in_atomic_block
    if begins and (found := _half_done(connection)) and found[0]:
        # Else they would be taken for steps of a later repetition.
        sql = f"DELETE FROM {TABLE} WHERE migration = ANY (%s)"
        _run(connection, sql, [sorted(found[0])])
    connection.migration_plan, connection.migrating = plan, begins


def end(using: str = DEFAULT_DB_ALIAS, **kwargs: Any) -> None:
    connection: Any = connections[using]
    if not hasattr(connection, "migrating") or connection.in_atomic_block:
        return
    connection.migrating = False
    found = _half_done(connection)
    if found is not None and not found[1]:
        _run(connection, f"DROP TABLE IF EXISTS {TABLE}")


pre_migrate.connect(begin, dispatch_uid="config.dsql.journal")
post_migrate.connect(end, dispatch_uid="config.dsql.journal")
