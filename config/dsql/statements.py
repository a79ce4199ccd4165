"""Adapt single statements of raw SQL, and the error at the row limit."""

import re
from typing import Any

from django.db import transaction
from django.db.backends.postgresql.base import Cursor as PostgresCursor
from django.db.utils import DatabaseErrorWrapper

# CREATE INDEX in the form of other databases: the index is built when it ends.
SYNCHRONOUS_INDEX = re.compile(
    r"\s*(CREATE (?:UNIQUE )?INDEX)(?: CONCURRENTLY)? (?!ASYNC\b)", re.IGNORECASE
)
# It ends when the job ends, which may take any time.
WAIT_FOR_JOB = re.compile(r"\s*CALL\s+sys\.wait_for_job\b", re.IGNORECASE)
ROW_LIMIT = "transaction row limit exceeded"
REMEDY = (
    " DSQL takes 3,000 changed rows per transaction, rows that foreign keys cascade to "
    "included. Change fewer rows at a time, or commit batch by batch with "
    f"{__package__}.split.split_transactions(), in a migration inside "
    "RunPython(…, atomic=False), or loaddata --commit-per-batch."
)


class Cursor(PostgresCursor):
    """Builds the indexes of raw SQL in the background, as DSQL does, and awaits them.

    Inside an atomic block the index is built after the commit, because DSQL takes one DDL
    statement per transaction and none together with DML.
    """

    database: Any = None

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        execute = super().execute  # type: ignore[misc]  # not in the stubs
        if self.database is None or not isinstance(query, str):
            return execute(query, params, **options)
        if WAIT_FOR_JOB.match(query):
            with self.database.without_deadline():
                return execute(query, params, **options)
        found = SYNCHRONOUS_INDEX.match(query)
        if found is None:
            return execute(query, params, **options)
        text = f"{found[1]} ASYNC {query[found.end() :]}"

        def build() -> None:
            with self.database.schema_editor() as editor:
                editor.execute(text, params)

        if self.database.in_atomic_block:
            transaction.on_commit(build, using=self.database.alias)
        else:
            build()
        return self


class ErrorWrapper(DatabaseErrorWrapper):
    """Adds a remedy to the error at the row limit."""

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if exc_value is not None and ROW_LIMIT in str(exc_value):
            exc_value.args = (f"{exc_value.args[0]}.{REMEDY}", *exc_value.args[1:])
        super().__exit__(exc_type, exc_value, traceback)
