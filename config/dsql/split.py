"""Change more rows than a transaction takes: commit as the work goes on, on request."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections

logger = logging.getLogger(__name__)
ROWS = 1000  # DSQL takes 3,000 per transaction; one statement may exceed this number
REPORT_EVERY = 10.0  # seconds between two lines about work that still runs
CHANGES = ("INSERT", "UPDATE", "DELETE")


class Splitter:
    """Commits the open transaction when enough rows were changed in it."""

    def __init__(
        self, connection: Any, rows: int, progress: Callable[[int], None] | None
    ) -> None:
        self.connection, self.rows, self.progress = connection, rows, progress
        self.total = self.open = 0

    def __call__(
        self, execute: Any, sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        result = execute(sql, params, many, context)
        cursor = context["cursor"]
        if (cursor.statusmessage or "").startswith(CHANGES):
            self.total += cursor.rowcount
            self.open += cursor.rowcount
        if self.open >= self.rows:
            self.commit()
        return result

    def commit(self) -> None:
        if self.connection.in_atomic_block:
            self.connection.commit_open()
        self.open = 0
        if self.progress is not None:
            self.progress(self.total)


@contextmanager
def split_transactions(
    using: str = "default",
    *,
    rows: int = ROWS,
    progress: Callable[[int], None] | None = None,
) -> Iterator[None]:
    """Commit after every ``rows`` changed rows, also inside atomic blocks.

    For imports and clean-ups that may be repeated: after an error, committed changes stay
    and ``atomic`` rolls back only the rest. ``bulk_create``, ``update`` and ``delete`` send
    at most ``rows`` rows per statement; rows that refer to each other must come in the
    order of their foreign keys, which every commit checks. ``progress`` is called with the
    number of rows after every commit; without it a line is logged from time to time. With
    another backend nothing is split.

    Raises RuntimeError inside an atomic block, ValueError when ``rows`` is not 1 to 1500.
    """
    connection: Any = connections[using]
    if not 1 <= rows <= 1500:
        raise ValueError(f"rows is {rows}; a transaction takes 3,000: use 1 to 1500.")
    if not hasattr(connection, "splitter"):
        yield
        return
    if connection.in_atomic_block:
        raise RuntimeError(
            "split_transactions() cannot be used inside atomic(); in a migration: "
            "RunPython(…, atomic=False)."
        )
    outer = connection.splitter
    connection.splitter = Splitter(connection, rows, progress or build_reporter())
    try:
        with connection.execute_wrapper(connection.splitter):
            yield
    finally:
        connection.splitter = outer


def build_reporter() -> Callable[[int], None]:
    started = reported = time.monotonic()

    def report(total: int) -> None:
        nonlocal reported
        if time.monotonic() - reported >= REPORT_EVERY:
            reported = time.monotonic()
            logger.warning("%d rows changed in %.0f s.", total, reported - started)

    return report
