"""Which steps of a migration are done, kept while ``migrate`` runs.

The catalog shows whether one step is done, but not what later steps have made of it: a
column that is gone may have been renamed. So each step of the schema editor is written
down when it has ended, and a run that was killed leaves the table behind. The next run
skips what stands in it; only the step that was under way is judged by the catalog.

A step is known by a digest over the applied migrations and all steps before it. The
table is made by the first step of ``migrate`` and dropped when ``migrate`` ends.
"""

import hashlib
import logging
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.models.signals import post_migrate, pre_migrate

from config.dsql.conflicts import sqlstates
from config.dsql.retry import run_statement

logger = logging.getLogger(__name__)
TABLE = "dsql_migration_steps"
UNDEFINED_TABLE = "42P01"


class Journal:
    """The steps of one schema editor."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.chain = self._applied()
        self.done = self._load()
        self.skipped = 0

    def is_done(self, step: str) -> bool:
        """Whether an earlier run has ended this step, which comes after those before."""
        self.chain = hashlib.sha256(f"{self.chain} {step}".encode()).hexdigest()
        if self.chain not in self.done:
            return False
        if not self.skipped:
            logger.warning(
                "Continuing an interrupted migration; its done steps stand in %s.",
                TABLE,
            )
        self.skipped += 1
        return True

    def record(self) -> None:
        """The step asked for last has ended."""
        self._run(
            f"INSERT INTO {TABLE} (step) VALUES (%s) ON CONFLICT DO NOTHING",
            [self.chain],
        )

    def _applied(self) -> str:
        # Not needed to serve: a cold start does without it.
        from django.db.migrations.recorder import MigrationRecorder

        applied = run_statement(
            MigrationRecorder(self.connection).applied_migrations,
            using=self.connection.alias,
        )
        return hashlib.sha256(repr(sorted(applied)).encode()).hexdigest()

    def _load(self) -> set[str]:
        try:
            return {step for (step,) in self._run(f"SELECT step FROM {TABLE}")}
        except DatabaseError as error:
            if UNDEFINED_TABLE not in sqlstates(error):
                raise
        self._run(f"CREATE TABLE IF NOT EXISTS {TABLE} (step char(64) PRIMARY KEY)")
        return set()

    def _run(self, sql: str, params: Any = None) -> Any:
        return run(self.connection, sql, params)


def run(connection: Any, sql: str, params: Any = None) -> Any:
    def work() -> Any:
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            return cursor.fetchall() if cursor.description else []

    return run_statement(work, using=connection.alias)


def begin(using: str = DEFAULT_DB_ALIAS, **kwargs: Any) -> None:
    connection: Any = connections[using]
    if hasattr(connection, "migrating"):
        connection.migrating = (
            bool(kwargs.get("plan")) and not connection.in_atomic_block
        )
        connection.editor = None  # of a run that ended in an error


def end(using: str = DEFAULT_DB_ALIAS, **kwargs: Any) -> None:
    connection: Any = connections[using]
    if not hasattr(connection, "migrating") or connection.in_atomic_block:
        return
    connection.migrating = False
    # Looked for first: DDL would disturb every session (OC001).
    if run(connection, "SELECT to_regclass(%s)", [TABLE]) != [(None,)]:
        run(connection, f"DROP TABLE IF EXISTS {TABLE}")


pre_migrate.connect(begin, dispatch_uid="config.dsql.journal")
post_migrate.connect(end, dispatch_uid="config.dsql.journal")
