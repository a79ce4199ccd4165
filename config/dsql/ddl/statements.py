"""One statement, its job, and the steps of the journal."""

import logging
import time
from functools import wraps

from django.db import DatabaseError, OperationalError
from django.db.backends.postgresql import schema
from django.db.backends.utils import split_identifier
from django.db.models import Field
from django.db.transaction import TransactionManagementError

from config.dsql.catalog import Catalog
from config.dsql.conflicts import sqlstates
from config.dsql.journal import Journal
from config.dsql.retry import run_statement

logger = logging.getLogger(__name__)
statements = logging.getLogger("django.db.backends.schema")  # Django's own
FIRST_POLL, SLOWEST_POLL = 0.02, 2.0  # seconds between two looks at a job
REPORT_EVERY = 10.0  # seconds between two lines about a job that still runs
ENDED = {"completed", "failed", "cancelled"}
UNDEFINED_TABLE, UNDEFINED_COLUMN, UNDEFINED_OBJECT = "42P01", "42703", "42704"
DUPLICATE_TABLE, DUPLICATE_COLUMN, DUPLICATE_OBJECT = "42P07", "42701", "42710"


class JobFailed(OperationalError):
    """A job of DSQL's did not complete; the text is what sys.jobs says of it."""


def step(method):
    """Make a method of the schema editor a step of the journal.

    A step that an earlier run has ended is only played through: what it defers is
    deferred again, nothing is executed.
    """

    @wraps(method)
    def perform(self, *args, **kwargs):
        if self._journal is None or self._step is not None:
            return method(self, *args, **kwargs)
        self._step = f"{method.__name__} {' '.join(map(self._described, args))}"
        try:
            if self._journal.is_done(self._step) and not self._is_lost(method, *args):
                return self._play(method, *args, **kwargs)
            result = method(self, *args, **kwargs)
            self._journal.record()
            return result
        finally:
            self._step = None

    return perform


class Statements(schema.DatabaseSchemaEditor):
    sleep = staticmethod(time.sleep)
    clock = staticmethod(time.monotonic)

    def __init__(self, connection, collect_sql=False, atomic=True):
        super().__init__(connection, collect_sql, atomic)
        self.catalog = Catalog(connection)
        self._made = set()  # tables of this editor, which the catalog may not show yet
        self._step = None  # the step under way, which steps inside it are part of
        self._journal = None
        self._lost = set()  # tables that were dropped by hand, see _is_lost
        self._builds = None  # indexes under way, while the deferred statements run

    def __enter__(self):
        connection = self.connection
        keeps = connection.migrating and not self.collect_sql
        if keeps and connection.editor is None:
            self._journal = Journal(connection)
        entered = super().__enter__()
        if self._journal is not None:
            connection.editor = self
        connection.limits.suspended += 1
        return entered

    def __exit__(self, exc_type, exc_value, traceback):
        """Run what was deferred; plain indexes are built side by side."""
        self._journal, self._builds = None, []
        if self.connection.editor is self:
            self.connection.editor = None
            self.connection.migrating &= exc_type is None  # the run ends here
        try:
            super().__exit__(exc_type, exc_value, traceback)
            if exc_type is None:
                for build in self._builds:
                    self._await_index(*build)
        finally:
            self.connection.limits.suspended -= 1

    def _execute(self, sql, params=None):
        if self.collect_sql:
            super().execute(str(sql), params)
            return
        if self.connection.in_atomic_block:
            raise TransactionManagementError(
                "DSQL takes one DDL statement per transaction and none beside DML: "
                "change the schema outside of atomic blocks (atomic = False)."
            )
        text = self._composed(sql, params)
        job = self._run(text)
        if job is not None:
            status, details = self._await_job(job, text)
            if status != "completed":
                raise JobFailed(f"Job {status}: {details or text}")

    def _composed(self, sql, params):
        if params is None:
            return str(sql)
        return self.connection.ops.compose_sql(str(sql), params)

    def _play(self, method, *args, **kwargs):
        self.collect_sql, self.collected_sql = True, []
        try:
            return method(self, *args, **kwargs)
        finally:
            self.collect_sql = False

    def _is_lost(self, method, model=None, *others):
        """Whether an earlier run made the step's table and it was dropped by hand.

        Then all steps on the table are to be done again.
        """
        if not hasattr(model, "_meta"):
            return False
        table = model._meta.db_table
        if (
            method.__name__ == "create_model"
            and not self._has_left(table)
            and not self.catalog.has_table(table)
        ):
            logger.warning("Table %s is gone; it is made again.", table)
            self._lost.add(table)
        return table in self._lost

    def _has_left(self, table):
        return self._journal is not None and self._journal.has_left(
            self._relation(table)
        )

    def _leave(self, table):
        # Before it happens: a run that is killed afterwards must not make it again.
        if self._journal is not None and not self.collect_sql:
            self._journal.leaves(table)

    def _described(self, thing):
        """The same text in every process."""
        if isinstance(thing, Field):
            column = (self._type(thing), thing.null, thing.unique, thing.db_index)
            return f"{thing.name} {thing.column} {column}"
        if hasattr(thing, "_meta"):
            return f"{thing._meta.label} {thing._meta.db_table}"
        if isinstance(thing, (set, list, tuple)) and all(
            isinstance(each, (list, tuple)) for each in thing
        ):
            return str(sorted(map(tuple, thing)))  # unique_together was a set
        return str(getattr(thing, "name", thing))

    def note(self, text):
        """A comment in what sqlmigrate prints."""
        if self.collect_sql:
            self.collected_sql.append(f"-- {text}")

    def _run(self, text):
        """The id of the job that DSQL answers to statements with ASYNC, or None."""

        def work():
            with self.connection.cursor() as cursor:
                cursor.execute(text)
                columns = [column.name for column in cursor.description or ()]
                return cursor.fetchone()[0] if columns == ["job_id"] else None

        statements.debug("%s; (params None)", text, extra={"params": None, "sql": text})
        return run_statement(work, using=self.connection.alias)

    def _unless_done(self, text, states, done):
        """Run DDL; an error of ``states`` is passed over when ``done()`` is true."""
        if self.collect_sql:
            super().execute(text, None)
            return
        try:
            self._execute(text)
        except DatabaseError as error:
            if not sqlstates(error) & states or not done():
                raise
            logger.info("Already done by an earlier run: %s", text)

    # Jobs

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
        return state

    def _job(self, job):
        query = "SELECT status, details FROM sys.jobs WHERE job_id = %s"
        found = self.catalog.rows(query, [job])
        # Old jobs are purged; then only the outcome can be looked at.
        return found[0] if found else ("completed", "")

    # Names

    def _type(self, field):
        return self.connection.ops.storage_type(field)

    @classmethod
    def _column(cls, field):
        """The column's name in the catalog; db_column may be given with its quotes."""
        return cls._unquoted(field.column)

    def _relation(self, table):
        """The table's name without the schema that db_table may carry."""
        return self._unquoted(split_identifier(self.quote_name(table))[1])

    @staticmethod
    def _unquoted(name):
        name = str(name)
        return name[1:-1].replace('""', '"') if name.startswith('"') else name
