"""Background jobs: index builds, validations and drops, one at a time.

A statement with ASYNC leaves a row in ``sandbox.jobs`` (jobs.sql) in its transaction; after
``delay`` seconds the job is run on a connection of its own. Rows of a sandbox that was
stopped or killed are found again.
"""

from collections.abc import Callable
from dataclasses import dataclass

from psycopg import errors

from ops.local.sandbox.postgres import Superuser

UNFINISHED = "status IN ('submitted', 'processing')"


@dataclass(frozen=True, slots=True)
class DueJob:
    """The next job, and in how many seconds it begins."""

    job: str
    seconds: float
    changes_catalog: bool


class Worker:
    """The jobs of one PostgreSQL. Its methods block; call them in a thread."""

    def __init__(self, superuser: Superuser, delay: Callable[[], float]) -> None:
        self._superuser = superuser
        self._delay = delay

    def unfinished(self) -> list[str]:
        query = f"SELECT job_id FROM sandbox.jobs WHERE {UNFINISHED}"  # noqa: S608 - constant
        return [job for (job,) in self._superuser.rows(query)]

    def next(self) -> DueJob | None:
        query = (
            "SELECT job_id, extract(epoch FROM start_time - clock_timestamp())::float8, "  # noqa: S608 - constant
            "job_type <> 'DROP' FROM sandbox.jobs "
            f"WHERE {UNFINISHED} ORDER BY start_time LIMIT 1"
        )
        for job, seconds, changes_catalog in self._superuser.rows(query):
            return DueJob(job, seconds + self._delay(), changes_catalog)
        return None

    def run(self, job: str) -> bool:
        """Do the job's work; False when transactions are in its way."""
        begin = (
            "UPDATE sandbox.jobs SET status = 'processing', "
            "update_time = clock_timestamp() WHERE job_id = %s AND status = 'submitted'"
        )
        self._superuser.rows(begin, [job])
        try:
            self._superuser.rows("SELECT sandbox.run_job(%s)", [job])
        except (errors.LockNotAvailable, errors.SerializationFailure):
            return False
        return True

    def close(self) -> None:
        self._superuser.close()
