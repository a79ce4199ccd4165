"""DDL as DSQL takes it: one statement per transaction, indexes built in the background."""

import logging
import re
import time

from django.db import IntegrityError, OperationalError
from django.db.backends.postgresql import schema

from config.dsql.retry import run_statement

logger = logging.getLogger(__name__)
ASYNC_INDEX = re.compile(
    r'CREATE (?:UNIQUE )?INDEX ASYNC (?:IF NOT EXISTS )?("(?:[^"]|"")+"|\w+) ON'
)
FIRST_POLL, SLOWEST_POLL = 0.05, 2.0  # seconds between two looks at a job
REPORT_EVERY = 10.0  # seconds between two lines about a job that still runs
ENDED = {"completed", "failed", "cancelled"}


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    sql_create_index = (
        "CREATE INDEX ASYNC %(name)s ON %(table)s (%(columns)s)%(include)s%(condition)s"
    )
    sql_create_unique_index = (
        "CREATE UNIQUE INDEX ASYNC %(name)s ON %(table)s "
        "(%(columns)s)%(include)s%(nulls_distinct)s%(condition)s"
    )
    sleep = staticmethod(time.sleep)
    clock = staticmethod(time.monotonic)

    def execute(self, sql, params=()):
        """Run one statement in its own transaction; wait for the job it starts.

        Raises IntegrityError when a unique index could not be built.
        """
        if self.collect_sql:
            super().execute(sql, params)
            return
        text = str(sql)
        if params is not None:
            text = self.connection.ops.compose_sql(text, params)
        job = run_statement(lambda: self._run(text), using=self.connection.alias)
        if job is not None:
            self._await_job(job, text)

    def _run(self, text):
        """The id of the job that DSQL answers to statements with ASYNC, or None."""
        with self.connection.cursor() as cursor:
            cursor.execute(text)
            columns = [column.name for column in cursor.description or ()]
            return cursor.fetchone()[0] if columns == ["job_id"] else None

    def _await_job(self, job, text):
        started = reported = self.clock()
        delay = FIRST_POLL
        while (state := self._job(job))[0] not in ENDED:
            if self.clock() - reported >= REPORT_EVERY:
                reported = self.clock()
                logger.warning(
                    "Still %s for %.0f s: %s", state[0], reported - started, text
                )
            self.sleep(delay)
            delay = min(delay * 2, SLOWEST_POLL)
        self._verify(state, text)

    def _job(self, job):
        query = "SELECT status, details FROM sys.jobs WHERE job_id = %s"
        row = self._one(query, [job])
        # Old jobs are purged; then only the outcome can be looked at.
        return row or ("completed", "")

    def _verify(self, state, text):
        status, details = state
        found = ASYNC_INDEX.match(text)
        if found is None:
            if status != "completed":
                raise OperationalError(f"Job {status}: {details or text}")
            return
        name = found[1]
        valid = self._one(
            "SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = to_regclass(%s)",
            [name],
        )
        if valid == (True,):
            return
        # DSQL keeps an invalid index; without it the migration can be run again.
        run_statement(
            lambda: self._run(f"DROP INDEX IF EXISTS {name}"),
            using=self.connection.alias,
        )
        raise IntegrityError(
            f"Index {name} could not be built ({details or status}) and was dropped. "
            f"Correct the rows, then migrate again. Statement: {text}"
        )

    def _one(self, query, params):
        def work():
            with self.connection.cursor() as cursor:
                cursor.execute(query, params)
                return cursor.fetchone()

        return run_statement(work, using=self.connection.alias)
