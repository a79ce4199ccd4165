"""Query parameters: each is refused by name when it is wrong, unknown or repeated."""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import unquote_to_bytes

from django.http import HttpRequest, QueryDict

from config.api import timestamps
from config.api.problems import Problem

MAX_QUERY = 8192  # all parameters at their largest take half of it
Parser = Callable[[str], Any]


def bad_parameter(name: str, reason: str) -> Problem:
    error = {"parameter": name, "reason": reason}
    return Problem(
        "invalid_parameter", f"Query parameter {name}: {reason}", errors=[error]
    )


def check_names(request: HttpRequest, known: Collection[str]) -> None:
    """Refuse what would be ignored. Raises Problem."""
    text = request.META.get("QUERY_STRING", "")
    if len(text) > MAX_QUERY:
        raise Problem("malformed", f"The query is longer than {MAX_QUERY} characters.")
    try:  # Django would read U+FFFD
        unquote_to_bytes(text.encode("latin-1")).decode()
    except UnicodeError:
        raise Problem(
            "malformed", "The query is not UTF-8, percent-encoded (RFC 3986)."
        ) from None
    for name, values in request.GET.lists():
        if name not in known:
            named = (
                f"known are {', '.join(known)}"
                if known
                else "no parameter is known here"
            )
            raise bad_parameter(name, f"Unknown; {named}.")
        if len(values) > 1:
            raise bad_parameter(name, "Given more than once.")


def parse(query: QueryDict, known: Mapping[str, Parser]) -> dict[str, Any]:
    """The values of what was given; the names were checked before. Raises Problem."""
    return {name: known[name](str(query[name])) for name in query}


def parse_text(name: str, text: str, longest: int) -> str:
    """Raises Problem."""
    if not 1 <= len(text) <= longest or "\x00" in text:
        raise bad_parameter(name, f"Must be 1 to {longest} characters without NUL.")
    return text


def build_timestamp_parser(name: str) -> Callable[[str], datetime]:
    def parse_timestamp(text: str) -> datetime:
        if moment := timestamps.parse(text):
            return moment
        raise bad_parameter(
            name,
            "Must be a date and time with its offset (RFC 3339), such as "
            "2026-11-24T09:30:00Z; write + as %2B.",
        )

    return parse_timestamp
