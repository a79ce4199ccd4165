"""The query parameters of the list, each refused by name when it is wrong."""

from datetime import datetime
from functools import partial
from typing import Any

from config.api import timestamps
from config.api.parameters import Parser, bad_parameter
from users import emails
from users.names import MAX_NAME
from users.selectors import BadCursor, Cursor, Filters

DEFAULT_LIMIT, MAX_LIMIT = 50, 100
MAX_CURSOR = 1000  # characters: beside its id it holds a name at most
MAX_EXPORT = 20_000  # rows; Lambda answers with at most 6 MB


def limit(text: str, *, most: int = MAX_LIMIT) -> int:
    digits = text.isascii() and text.isdigit() and len(text) <= len(str(most))
    if not (digits and 1 <= int(text) <= most):
        raise bad_parameter("limit", f"Must be a whole number from 1 to {most}.")
    return int(text)


def cursor(text: str) -> Cursor:
    try:
        if len(text) <= MAX_CURSOR:
            return Cursor.decode(text)
    except BadCursor:
        pass
    raise bad_parameter("cursor", "Not a cursor of this API; follow next or previous.")


def _text(name: str, text: str, longest: int) -> str:
    if not 1 <= len(text) <= longest or "\x00" in text:
        raise bad_parameter(name, f"Must be 1 to {longest} characters without NUL.")
    return text


def email(text: str) -> str:
    if " " in text and emails.fault(text):
        raise bad_parameter("email", "Has a space; write + as %2B.")
    return _text("email", text, emails.MAX_ADDRESS)


def name_prefix(text: str) -> str:
    return _text("name_prefix", text, MAX_NAME)


def _moment(name: str) -> Parser:
    def parse(text: str) -> datetime:
        if moment := timestamps.parse(text):
            return moment
        raise bad_parameter(
            name,
            "Must be a date and time with its offset (RFC 3339), such as "
            "2026-11-24T09:30:00Z; write + as %2B.",
        )

    return parse


FILTERS: dict[str, Parser] = {
    "email": email,
    "name_prefix": name_prefix,
    "created_from": _moment("created_from"),
    "created_to": _moment("created_to"),
}
PARAMETERS: dict[str, Parser] = {"limit": limit, "cursor": cursor, **FILTERS}
EXPORT_PARAMETERS: dict[str, Parser] = {
    **PARAMETERS,
    "limit": partial(limit, most=MAX_EXPORT),
}


def filters(values: dict[str, Any]) -> Filters:
    """Raises Problem for filters that no index serves together."""
    given = {name: values[name] for name in FILTERS if name in values}
    if "name_prefix" in given and {"created_from", "created_to"} & set(given):
        raise bad_parameter(
            "name_prefix", "Cannot be combined with created_from, created_to."
        )
    return Filters(**given)
