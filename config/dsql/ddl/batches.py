"""Changes to every row of a table, which no transaction of DSQL's takes at once."""

import logging
import time
from collections.abc import Sequence
from typing import Any

from django.db import OperationalError

from ..conflicts import sqlstates
from ..retry import ConflictRetriesExhausted

logger = logging.getLogger(__name__)
BATCH = 1000  # rows; DSQL takes 3,000 per transaction, and rows may be added meanwhile
ROW_LIMIT = "54000"  # of rows, and of a transaction's size and age
# What sqlmigrate prints above the statement.
IN_BATCHES = f"in batches of {BATCH} rows by primary key, until none is left:"
REPORT_EVERY = 10.0  # seconds between two lines about a copy that still runs


class Batches:
    """A table's rows, changed in the order of its key, each batch a transaction."""

    def __init__(self, connection: Any, table: str, key: Sequence[str]) -> None:
        quote = connection.ops.quote_name
        self.connection = connection
        self.table, self.shown = quote(table), table
        self.key = ", ".join(quote(column) for column in key)
        self.places = ", ".join("%s" for _ in key)

    def update(self, assignment: str, condition: str) -> int:
        """How many rows were changed. Both texts are SQL, values included.

        Safe to run again: the condition must be false for a row that was changed.
        Batches shrink when they conflict with others or go beyond a limit. Raises
        OperationalError when a single row does.
        """
        sql = f"UPDATE {self.table} SET {assignment} WHERE ({condition})".replace(
            "%", "%%"
        )
        changed, last, size = 0, None, BATCH
        started = reported = time.monotonic()
        while True:
            upto = self._key_at(size, last)
            try:
                changed += self._run(sql, last, upto)
            except OperationalError as error:
                is_too_much = isinstance(error, ConflictRetriesExhausted)
                if size == 1 or not (is_too_much or ROW_LIMIT in sqlstates(error)):
                    raise
                size = max(1, size // 10)
                continue
            if upto is None:
                return changed
            last = upto
            if time.monotonic() - reported >= REPORT_EVERY:
                reported = time.monotonic()
                logger.warning(
                    "Still writing %s: %d rows changed in %.0f s, at key %s.",
                    self.shown, changed, reported - started, last,
                )  # fmt: skip

    def _key_at(self, size: int, last: Any) -> Any:
        after = f"WHERE ({self.key}) > ({self.places})" if last else ""
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT {self.key} FROM {self.table} {after} "
                f"ORDER BY {self.key} LIMIT 1 OFFSET {size - 1}",
                last,
            )
            return cursor.fetchone()

    def _run(self, sql: str, last: Any, upto: Any) -> int:
        params: list[Any] = []
        for operator, bound in ((">", last), ("<=", upto)):
            if bound:
                sql += f" AND ({self.key}) {operator} ({self.places})"
                params += bound
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return int(cursor.rowcount)
