"""The query parameters of the list, each refused by name when it is wrong."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, NoReturn

from django.http import QueryDict

from config.api.problems import Problem
from users.selectors import BadCursor, Cursor, Filters

DEFAULT_LIMIT, MAX_LIMIT = 50, 100
MAX_EXPORT = 20_000  # rows; Lambda answers with at most 6 MB


def bad_parameter(name: str, reason: str) -> NoReturn:
    error = {"parameter": name, "reason": reason}
    raise Problem(
        "invalid_parameter", f"Query parameter {name}: {reason}", errors=[error]
    )


def limit(text: str, *, most: int = MAX_LIMIT) -> int:
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    if not (digits and 1 <= int(text) <= most):
        bad_parameter("limit", f"Must be a whole number from 1 to {most}.")
    return int(text)


def cursor(text: str) -> Cursor:
    try:
        return Cursor.decode(text)
    except BadCursor:
        bad_parameter("cursor", "Not a cursor of this API; follow next or previous.")


def _text(name: str, longest: int) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not 1 <= len(text) <= longest or "\x00" in text:
            bad_parameter(name, f"Must be 1 to {longest} characters without NUL.")
        return text

    return parse


def _moment(name: str) -> Callable[[str], datetime]:
    def parse(text: str) -> datetime:
        try:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is not None:
                # PostgreSQL takes no offset of 16 hours and more.
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        bad_parameter(
            name,
            "Must be a date and time with its offset (RFC 3339), such as "
            "2026-11-24T09:30:00Z; write + as %2B.",
        )

    return parse


Parser = Callable[[str], Any]

FILTERS: dict[str, Parser] = {
    "email": _text("email", 254),
    "name_prefix": _text("name_prefix", 100),
    "created_from": _moment("created_from"),
    "created_to": _moment("created_to"),
}
PARAMETERS: dict[str, Parser] = {"limit": limit, "cursor": cursor, **FILTERS}
EXPORT_PARAMETERS: dict[str, Parser] = {
    **PARAMETERS,
    "limit": partial(limit, most=MAX_EXPORT),
}


def parse(query: QueryDict, known: dict[str, Parser] = PARAMETERS) -> dict[str, Any]:
    """The values of what was given. Raises Problem."""
    for name, texts in query.lists():
        if name not in known:
            bad_parameter(name, f"Unknown; known are {', '.join(known)}.")
        if len(texts) > 1:
            bad_parameter(name, "Given more than once.")
    return {name: known[name](str(query[name])) for name in query}


def filters(values: dict[str, Any]) -> Filters:
    """Raises Problem for filters that no index serves together."""
    given = {name: values[name] for name in FILTERS if name in values}
    if "name_prefix" in given and {"created_from", "created_to"} & set(given):
        bad_parameter(
            "name_prefix", "Cannot be combined with created_from, created_to."
        )
    return Filters(**given)
