"""Adapt single statements of raw SQL, and the error at the row limit."""

import re
from typing import Any

from django.db import transaction
from django.db.backends.postgresql import base
from django.db.utils import DatabaseErrorWrapper
from psycopg import ClientCursor

from .blocks import LEADING, SCHEMA_CHANGE, outside_block

# CREATE INDEX in the form of other databases: the index is built when it ends.
SYNCHRONOUS_INDEX = re.compile(
    rf"{LEADING}(CREATE\s+(?:UNIQUE\s+)?INDEX)(?:\s+CONCURRENTLY)?\s++(?!ASYNC\b)",
    re.IGNORECASE | re.DOTALL,
)
# What PostgreSQL does not plan takes no parameters.
WITHOUT_PARAMETERS = re.compile(
    rf"{SCHEMA_CHANGE.pattern}|{LEADING}SET\b", SCHEMA_CHANGE.flags
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


def is_synchronous_index(sql: object) -> bool:
    return isinstance(sql, str) and SYNCHRONOUS_INDEX.match(sql) is not None


class AdaptedStatements:
    """Builds the indexes of raw SQL in the background, as DSQL does, and awaits them.

    Inside an atomic block that has read or changed rows the index is built after the
    commit, because DSQL takes one DDL statement per transaction and none together with DML.
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

        if self._holds_rows():
            transaction.on_commit(build, using=self.database.alias)
        else:
            with outside_block(self.database, noted=False):
                build()
        return self

    def _holds_rows(self) -> bool:
        """Whether an atomic block is open whose transaction has read or changed rows."""
        database = self.database
        is_open = database.in_atomic_block and database.in_transaction()
        return is_open and not database.schema_changed


class Cursor(AdaptedStatements, base.Cursor):
    """Sends values inside the statement."""


class ServerBindingCursor(AdaptedStatements, base.ServerBindingCursor):
    """Sends values beside the statement, where it takes any: OPTIONS['server_side_binding']."""

    connection: Any

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        if params and isinstance(query, str) and WITHOUT_PARAMETERS.match(query):
            query = ClientCursor(self.connection).mogrify(query, params)
            params = None
        return super().execute(query, params, **options)


# By Django's cursor class.
CURSORS = {base.Cursor: Cursor, base.ServerBindingCursor: ServerBindingCursor}


class ErrorWrapper(DatabaseErrorWrapper):
    """Adds a remedy to the error at the row limit."""

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if exc_value is not None and ROW_LIMIT in str(exc_value):
            exc_value.args = (f"{exc_value.args[0]}.{REMEDY}", *exc_value.args[1:])
        super().__exit__(exc_type, exc_value, traceback)
