"""The query parameters of the list that are about users."""

from typing import Any

from config.api.parameters import (
    Parser,
    bad_parameter,
    build_timestamp_parser,
    parse_text,
)
from users import emails
from users.names import MAX_NAME
from users.selectors import Filters


def parse_email(text: str) -> str:
    if " " in text and emails.find_fault(text):
        raise bad_parameter("email", "Has a space; write + as %2B.")
    return parse_text("email", text, emails.MAX_ADDRESS)


def parse_name_prefix(text: str) -> str:
    return parse_text("name_prefix", text, MAX_NAME)


FILTERS: dict[str, Parser] = {
    "email": parse_email,
    "name_prefix": parse_name_prefix,
    "created_from": build_timestamp_parser("created_from"),
    "created_to": build_timestamp_parser("created_to"),
}


def build_filters(values: dict[str, Any]) -> Filters:
    """Raises Problem for filters that no index serves together."""
    if "name_prefix" in values and not values.keys().isdisjoint(
        {"created_from", "created_to"}
    ):
        raise bad_parameter(
            "name_prefix", "Cannot be combined with created_from, created_to."
        )
    return Filters(**values)
