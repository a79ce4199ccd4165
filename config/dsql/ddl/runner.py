"""One statement at a time: run or collected, its job awaited, its step recorded."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
from typing import Any, TypeVar, cast

from django.db import DatabaseError, OperationalError
from django.db.models import Field
from django.db.transaction import TransactionManagementError

from ..blocks import MIXTURE, SCHEMA_CHANGE, outside_block
from ..conflicts import sqlstates
from .journal import Journal

logger = logging.getLogger(__name__)
statements = logging.getLogger("django.db.backends.schema")  # Django's own
FIRST_POLL, SLOWEST_POLL = 0.02, 2.0  # seconds between two looks at a job
REPORT_EVERY = 10.0  # seconds between two lines about a job that still runs
ENDED = {"completed", "failed", "cancelled"}
JOB = "SELECT status, details FROM sys.jobs WHERE job_id = %s"
Method = TypeVar("Method", bound=Callable[..., Any])


class JobFailed(OperationalError):
    """A job of DSQL's did not complete; the text is what sys.jobs says of it."""


def step(method: Method) -> Method:
    """Make a method of the schema editor a step of the journal.

    A step that an earlier run has completed is only replayed: what it defers is deferred
    again, nothing is executed.
    """

    @wraps(method)
    def perform(editor: Any, *args: Any, **kwargs: Any) -> Any:
        runner: Runner = editor.runner
        if runner.in_step or runner.is_of_block(args):
            return method(editor, *args, **kwargs)
        name = method.__name__.removeprefix("_")
        with runner.outside_block(), runner.step(name, args):
            return method(editor, *args, **kwargs)

    return cast("Method", perform)


class Runner:
    """Runs the statements of one schema editor, or collects them for ``sqlmigrate``."""

    def __init__(self, connection: Any, collected: list[str] | None = None) -> None:
        self.connection = connection
        self.journal: Journal | None = None  # while this editor keeps it
        self.in_step = False  # steps inside a step are part of it
        self.is_replaying = False
        self.sleep: Callable[[float], None] = time.sleep
        self.clock: Callable[[], float] = time.monotonic
        self._collected = collected

    @property
    def is_collecting(self) -> bool:
        """Whether nothing is executed."""
        return self._collected is not None

    def is_of_block(self, args: Sequence[Any]) -> bool:
        """Whether a call is of raw SQL that belongs into the open block: it is no step."""
        is_raw = bool(args) and isinstance(args[0], str)
        in_block = self.connection.in_atomic_block and not self.is_collecting
        return in_block and is_raw and not SCHEMA_CHANGE.match(args[0])

    def outside_block(self) -> AbstractContextManager[None]:
        if self.is_collecting:
            return nullcontext()
        return outside_block(self.connection)

    @contextmanager
    def step(self, method: str, args: Sequence[Any]) -> Iterator[None]:
        """Run one step, unless an earlier run has completed it: then replay it."""
        if self.journal is None:
            yield
            return
        self.in_step = True
        try:
            name = f"{method} {' '.join(map(self.describe, args))}"
            meta = getattr(args[0], "_meta", None) if args else None
            table = None if meta is None else meta.db_table
            if self.journal.is_done(
                name, table=table, creates=method == "create_model"
            ):
                with self._replay():
                    yield
            else:
                yield
                self.journal.record()
        finally:
            self.in_step = False

    @contextmanager
    def _replay(self) -> Iterator[None]:
        self._collected, self.is_replaying = [], True
        try:
            yield
        finally:
            self._collected, self.is_replaying = None, False

    def describe(self, thing: Any) -> str:
        """An argument of a step: the same text in every process."""
        if isinstance(thing, Field):
            return self._describe_field(thing)
        if hasattr(thing, "_meta"):
            return f"{thing._meta.label} {thing._meta.db_table}"
        if isinstance(thing, set | list | tuple) and all(
            isinstance(each, list | tuple) for each in thing
        ):
            return str(sorted(map(tuple, thing)))  # unique_together was a set
        return str(getattr(thing, "name", thing))

    def _describe_field(self, field: Any) -> str:
        db_type = self.connection.ops.storage_type(field)
        column = (db_type, field.null, field.unique, field.db_index)
        return f"{field.name} {field.column} {column}"

    def record_removal(self, table: str) -> None:
        """The migration is about to drop or rename the table.

        Before it happens: a run that is killed afterwards must not make it again.
        """
        if self.journal is not None and not self.is_collecting:
            self.journal.record_removal(table)

    def compose(self, sql: object, params: Any = None) -> str:
        """The statement with its parameters in it."""
        if params is None:
            return str(sql)
        return str(self.connection.ops.compose_sql(str(sql), params))

    def execute(self, text: str) -> None:
        """Run one statement in its own transaction; wait for the job it starts.

        Raises JobFailed when the job does not complete.
        """
        if self._collected is not None:
            self.collect(text)
            return
        if SCHEMA_CHANGE.match(text):
            self.require_autocommit()
        job = self.submit(text)
        if job is not None:
            status, details = self.await_job(job, text)
            if status != "completed":
                raise JobFailed(f"Job {status}: {details or text}")

    def execute_unless_done(
        self, text: str, states: set[str], is_done: Callable[[], bool]
    ) -> None:
        """Run DDL; ignore an error with one of ``states`` when ``is_done()`` is true."""
        try:
            self.execute(text)
        except DatabaseError as error:
            if not sqlstates(error) & states or not is_done():
                raise
            logger.info("Already done by an earlier run: %s", text)

    def require_autocommit(self) -> None:
        if self.connection.in_atomic_block:
            raise TransactionManagementError(MIXTURE)

    def collect(self, text: str) -> None:
        if self._collected is not None:
            statements.debug(
                "%s; (params None)", text, extra={"params": None, "sql": text}
            )
            self._collected.append(text if text.rstrip().endswith(";") else f"{text};")

    def note(self, text: str) -> None:
        """A comment in what sqlmigrate prints."""
        if self._collected is not None:
            self._collected.append(f"-- {text}")

    def submit(self, text: str) -> str | None:
        """Send a statement; the id of the job that DSQL starts for it, or None."""
        statements.debug("%s; (params None)", text, extra={"params": None, "sql": text})
        with self.connection.cursor() as cursor:
            cursor.execute(text)
            columns = [column.name for column in cursor.description or ()]
            return cursor.fetchone()[0] if columns == ["job_id"] else None

    def await_job(self, job: str, text: str) -> tuple[str, str]:
        """Wait until the job has ended; its status and what sys.jobs says of it."""
        started = reported = self.clock()
        delay = FIRST_POLL
        while (state := self._job_state(job))[0] not in ENDED:
            if self.clock() - reported >= REPORT_EVERY:
                reported = self.clock()
                logger.warning(
                    "Still %s for %.0f s: %s", state[0], reported - started, text
                )
            self.sleep(delay)
            delay = min(delay * 2, SLOWEST_POLL)
        return state

    def _job_state(self, job: str) -> tuple[str, str]:
        with self.connection.cursor() as cursor:
            cursor.execute(JOB, [job])
            state: tuple[str, str] | None = cursor.fetchone()
        # Old jobs are purged; then only the outcome can be looked at.
        return state or ("completed", "")
