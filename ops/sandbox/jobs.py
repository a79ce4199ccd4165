"""Background jobs: index builds, validations and drops, one at a time.

A statement with ASYNC leaves a row in ``sandbox.jobs`` (jobs.sql) in its transaction; after
``delay`` seconds the job is run on a connection of its own. Rows of a sandbox that was
stopped or killed are found again.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import errors

UNFINISHED = "status IN ('submitted', 'processing')"


@dataclass(frozen=True, slots=True)
class Due:
    """The next job, and in how many seconds it begins."""

    job: str
    seconds: float
    changes_catalog: bool


class Worker:
    """The jobs of one PostgreSQL. Its methods block; call them in a thread."""

    def __init__(
        self, connect: Callable[[], psycopg.Connection[Any]], delay: Callable[[], float]
    ) -> None:
        self._connection = connect()
        self._delay = delay
        self._lock = threading.Lock()

    def unfinished(self) -> list[str]:
        with self._lock:
            query = f"SELECT job_id FROM sandbox.jobs WHERE {UNFINISHED}"  # noqa: S608 - constant
            return [job for (job,) in self._connection.execute(query)]

    def next(self) -> Due | None:
        query = (
            "SELECT job_id, extract(epoch FROM start_time - clock_timestamp())::float8, "  # noqa: S608 - constant
            "job_type <> 'DROP' FROM sandbox.jobs "
            f"WHERE {UNFINISHED} ORDER BY start_time LIMIT 1"
        )
        with self._lock:
            row = self._connection.execute(query).fetchone()
        return Due(row[0], row[1] + self._delay(), row[2]) if row else None

    def run(self, job: str) -> bool:
        """Do the job's work; False when transactions are in its way."""
        begin = (
            "UPDATE sandbox.jobs SET status = 'processing', "
            "update_time = clock_timestamp() WHERE job_id = %s AND status = 'submitted'"
        )
        with self._lock:
            self._connection.execute(begin, [job])
            try:
                self._connection.execute("SELECT sandbox.run_job(%s)", [job])
            except (errors.LockNotAvailable, errors.SerializationFailure):
                return False
        return True

    def close(self) -> None:
        self._connection.close()
