"""Many users at once: NDJSON (one JSON object a line) in and out.

An import is a series of transactions that DSQL takes (3,000 rows, 10 MiB), so it can end
half-way; it can be repeated, because a user whose e-mail is there is left alone.
"""

import json
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from django.db import Error, InterfaceError, OperationalError, connection
from django.db.models import Value, sql
from django.db.models.functions import Lower
from django.utils import timezone
from rest_framework.exceptions import ParseError, ValidationError

from config.api.problems import problem_from_database_error, problem_from_validation
from config.api.responses import encode
from config.api.views import JSONView, load_object
from config.dsql.conflicts import OutcomeUnknown
from users import selectors
from users.models import User
from users.selectors import ALL, Cursor, Filters, Page
from users.serializers import validated

logger = logging.getLogger(__name__)
BATCH_ROWS = 1000  # a third of what a transaction takes
DEADLINE = "deadline"  # the cause of a line that no time was left for
# Seconds: API Gateway waits 29, and the last batch may try as long as one may.
IMPORT_SECONDS = 12.0
# Of one line, and the characters of a pointer: every line's errors should find room.
MAX_ERRORS, MAX_POINTER = 3, 60
# Of all lines: beside them the results of 10,000 lines take 1 MB of Lambda's 6.
ERROR_BYTES = 4_500_000
# Lambda answers with at most 6 MB: so much is begun, and a page comes on top.
EXPORT_BYTES, EXPORT_ROWS = 5_000_000, 250
MAX_LINE_BYTES = JSONView.max_body_bytes  # what one user may take in a POST
EMAIL_INDEX = '(LOWER("email"))'
Result = dict[str, Any]


def users_import(
    lines: Iterable[bytes],
    *,
    seconds: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Result]:
    """A result for each line in order, then their summary.

    ``status`` is "created", "exists" (a user has the e-mail; nothing was changed),
    "invalid" (with errors), or "failed" (with the cause: the code of a problem, or
    "deadline" when the seconds were over; repeat the import). Blank lines count, and have
    no result. Raises the database's error while nothing was stored: the first result
    comes after the first batch that was.
    """
    counts: Counter[str] = Counter()
    held: list[Result] = []
    stored = False
    numbered = ((n, line) for n, line in enumerate(lines, start=1) if line.strip())
    ends = clock() + seconds
    while batch := list(islice(numbered, BATCH_ROWS)):
        results, users = _validate_batch(batch, lambda: clock() >= ends)
        if users:
            try:
                outcomes = _store_batch(users)
                stored = True
            except Error as error:
                if not stored:
                    raise
                outcomes = _failed_results(users, error)
            for result in results:
                result |= outcomes.get(result["line"], {})
        held += results
        if stored:
            yield from _counted(held, counts)
            held = []
    yield from _counted(held, counts)
    yield {"summary": dict(counts)}


def _counted(results: list[Result], counts: Counter[str]) -> list[Result]:
    counts.update(result["status"] for result in results)
    return results


def fitting(results: Iterable[Result]) -> Iterator[Result]:
    """The same results; errors that a response has no room for are left out."""
    room = ERROR_BYTES
    for result in results:
        room -= size_of(result.get("errors", ()))
        if room < 0 and "errors" in result:
            result = {**result, "errors": []}
        yield result


def _validate_batch(
    batch: list[tuple[int, bytes]], over: Callable[[], bool]
) -> tuple[list[Result], dict[int, User]]:
    """What can be said of each line without the database, and the users to store."""
    now = timezone.now()
    results: list[Result] = []
    users: dict[int, User] = {}
    for line, text in batch:
        if over():
            results.append({"line": line, "status": "failed", "cause": DEADLINE})
            continue
        result: Result = {"line": line, "status": "invalid"}
        try:
            users[line] = User(**_validated(text), created_at=now, updated_at=now)
        except ParseError as error:
            result["errors"] = [{"pointer": "", "reason": str(error.detail)}]
        except ValidationError as error:
            result["errors"] = [
                {**found, "pointer": found["pointer"][:MAX_POINTER]}
                for found in problem_from_validation(error.detail).errors[:MAX_ERRORS]
            ]
        results.append(result)
    return results, users


def _validated(text: bytes) -> dict[str, Any]:
    if len(text) > MAX_LINE_BYTES:
        raise ParseError(f"The line is longer than {MAX_LINE_BYTES} bytes.")
    return validated(load_object(text, what="line"))


def _store_batch(users: dict[int, User]) -> dict[int, Result]:
    """The outcome of each line whose user was valid. Raises the database's error."""
    _insert_missing(list(users.values()))
    wanted = [Lower(Value(user.email)) for user in users.values()]
    rows = User.objects.annotate(key=Lower("email")).filter(key__in=wanted)
    try:
        found = list(rows.values_list("email", "pk"))
    except (OperationalError, InterfaceError) as error:
        raise OutcomeUnknown(
            f"Users were stored, and who they are is unknown: {error}"
        ) from error
    ids = {email.lower(): key for email, key in found}
    return {line: _outcome(user, ids) for line, user in users.items()}


def _insert_missing(users: list[User]) -> None:
    """Insert those whose e-mail no user has.

    The conflict names its index: whatever else is in the way is an error. A recording of a
    real cluster has ON CONFLICT with a column; with an expression it is PostgreSQL's.
    """
    query = sql.InsertQuery(User)
    query.insert_values(User._meta.concrete_fields, [*users])  # noqa: SLF001 - Meta API
    with connection.cursor() as cursor:
        for statement, params in query.get_compiler(connection=connection).as_sql():
            cursor.execute(f"{statement} ON CONFLICT {EMAIL_INDEX} DO NOTHING", params)


def _outcome(user: User, ids: dict[str, Any]) -> Result:
    key = ids.get(user.email.lower())
    if key is None:  # the user that was in the way was deleted meanwhile
        return {"status": "failed", "cause": "write_conflict"}
    return {"status": "created" if key == user.pk else "exists", "id": key}


def _failed_results(users: dict[int, User], error: Error) -> dict[int, Result]:
    logger.warning("A batch of an import failed: %s", error)
    cause = problem_from_database_error(error).code
    return {line: {"status": "failed", "cause": cause} for line in users}


def users_export(
    *, limit: int, cursor: Cursor | None = None, filters: Filters = ALL
) -> Iterator[Page]:
    """Pages of ``limit`` users in all; at least one, and the last knows what follows.

    The first is read at once, so that a failure can still be answered as one.
    """
    page = selectors.user_list(
        limit=min(limit, EXPORT_ROWS), cursor=cursor, filters=filters
    )

    def pages(page: Page, left: int) -> Iterator[Page]:
        while True:
            yield page
            left -= len(page.users)
            if not (page.next and left):
                return
            page = selectors.user_list(
                limit=min(left, EXPORT_ROWS), cursor=page.next, filters=filters
            )

    return pages(page, limit)


def size_of(values: Iterable[Any]) -> int:
    """Bytes of these in Lambda's answer, where text is written as a JSON string."""
    return sum(len(json.dumps(encode(value).decode())) for value in values)


def as_lines(values: Iterable[Any]) -> Iterator[bytes]:
    for value in values:
        yield encode(value) + b"\n"


SAMPLE = [
    {"name": "Ada Lovelace", "email": "ada@example.com"},
    {"name": "Alan Turing", "email": "alan@example.com"},
    {"name": "Edsger Dijkstra", "email": "edsger@example.com"},
    {"name": "Grace Hopper", "email": "grace@example.com"},
    {"name": "Katherine Johnson", "email": "katherine@example.com"},
]


def sample_lines(count: int) -> Iterator[bytes]:
    """The five of the sample, then numbered ones; the same at every call."""
    for number in range(count):
        numbered = f"User {number + 1:07}", f"user{number + 1:07}@example.com"
        made = dict(zip(("name", "email"), numbered, strict=True))
        yield json.dumps(SAMPLE[number] if number < len(SAMPLE) else made).encode()
