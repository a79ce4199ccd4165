"""Many rows from lines of JSON: batches, each a transaction that DSQL takes.

An import can end half-way: DSQL takes 3,000 rows and 10 MiB per transaction. It can be
repeated where rows that exist are skipped.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol, TypeVar

from django.db import Error
from rest_framework.exceptions import ParseError, ValidationError

from config.api.parsers import MAX_BODY_BYTES, load_object
from config.api.problems import problem_from_database_error, problem_from_validation

logger = logging.getLogger(__name__)
BATCH_ROWS = 1000  # a third of what a transaction takes
DEADLINE = "deadline"  # the cause of a line that was not reached in time
# Seconds: API Gateway waits 29. This leaves one retry budget for the last batch.
IMPORT_SECONDS = 12.0
# Of one line, and the characters of a pointer: so that all lines' errors fit the response.
MAX_ERRORS, MAX_POINTER = 3, 60
Row = TypeVar("Row")
Result = dict[str, Any]


class Importer(Protocol):
    def __call__(
        self, lines: Iterable[bytes], *, seconds: float = ...
    ) -> Iterator[Result]: ...


def import_lines(
    lines: Iterable[bytes],
    *,
    build: Callable[[dict[str, Any]], Row],
    store: Callable[[list[Row]], list[Result]],
    seconds: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Result]:
    """A result for each line in order, then their summary.

    ``build`` makes a row of a line's object, or raises DRF's ValidationError. ``store``
    saves rows in one transaction, and has a result for each: its ``status``, such as
    "created" or "exists". The status of other lines is "invalid" (with errors) or
    "failed" (with the cause: the code of a problem, or "deadline" when the seconds were
    over; repeat the import). Blank lines count, and have no result. Raises the database's
    error while nothing was stored: the first result comes after the first batch that was.
    """
    counts: Counter[str] = Counter()
    held: list[Result] = []
    stored = False
    numbered = ((n, line) for n, line in enumerate(lines, start=1) if line.strip())
    ends = clock() + seconds
    while batch := list(islice(numbered, BATCH_ROWS)):
        results, rows = _build_batch(batch, build, lambda: clock() >= ends)
        if rows:
            try:
                outcomes = store(list(rows.values()))
                stored = True
            except Error as error:
                if not stored:
                    raise
                outcomes = _failed_results(len(rows), error)
            _merge(results, dict(zip(rows, outcomes, strict=True)))
        held += results
        if stored:
            yield from _counted(held, counts)
            held = []
    yield from _counted(held, counts)
    yield {"summary": dict(counts)}


def _build_batch(
    batch: list[tuple[int, bytes]],
    build: Callable[[dict[str, Any]], Row],
    is_over: Callable[[], bool],
) -> tuple[list[Result], dict[int, Row]]:
    """What is known of each line without the database, and the rows to store by line."""
    results: list[Result] = []
    rows: dict[int, Row] = {}
    for line, text in batch:
        if is_over():
            results.append({"line": line, "status": "failed", "cause": DEADLINE})
            continue
        result: Result = {"line": line, "status": "invalid"}
        try:
            rows[line] = build(parse_line(text))
        except ParseError as error:
            result["errors"] = [{"pointer": "", "reason": str(error.detail)}]
        except ValidationError as error:
            result["errors"] = [
                {**found, "pointer": found["pointer"][:MAX_POINTER]}
                for found in problem_from_validation(error.detail).errors[:MAX_ERRORS]
            ]
        results.append(result)
    return results, rows


def parse_line(text: bytes) -> dict[str, Any]:
    """Raises ParseError."""
    if len(text) > MAX_BODY_BYTES:
        raise ParseError(f"The line is longer than {MAX_BODY_BYTES} bytes.")
    return load_object(text, what="line")


def _merge(results: list[Result], outcomes: Mapping[int, Result]) -> None:
    for result in results:
        result |= outcomes.get(result["line"], {})


def _failed_results(count: int, error: Error) -> list[Result]:
    logger.warning("A batch of an import failed: %s", error)
    cause = problem_from_database_error(error).code
    return [{"status": "failed", "cause": cause} for _ in range(count)]


def _counted(results: list[Result], counts: Counter[str]) -> list[Result]:
    counts.update(result["status"] for result in results)
    return results
