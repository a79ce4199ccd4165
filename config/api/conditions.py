"""Preconditions, RFC 9110 section 13: what the client believes the resource to be."""

import re
from dataclasses import dataclass

from django.http import HttpRequest

from config.api.problems import Problem

# A list's member with its comma; an empty one counts for nothing (RFC 9110, sections 5.6.1
# and 8.8.3).
MEMBER = re.compile(r'[ \t]*(?:(W/)?"([!\x23-\x7e\x80-\xff]*)"[ \t]*)?(?:,|\Z)')
ANY = '"*"'  # with its quotes no opaque tag can be it: "*" is one, * is not
Tags = frozenset[str] | None  # None: the header was not sent; {ANY}: any resource


@dataclass(frozen=True, slots=True)
class Conditions:
    """The opaque tags of ``If-Match`` and ``If-None-Match``."""

    match: Tags = None
    none_match: Tags = None

    def __bool__(self) -> bool:
        return self.match is not None or self.none_match is not None

    def not_modified(self, tag: str) -> bool:
        """Whether a GET is answered 304: the client holds this very state."""
        return self.none_match is not None and bool(self.none_match & {ANY, tag})


UNCONDITIONAL = Conditions()


def conditions_of(request: HttpRequest) -> Conditions:
    """Read both headers. Raises Problem when one is malformed."""
    match = request.META.get("HTTP_IF_MATCH")
    none_match = request.META.get("HTTP_IF_NONE_MATCH")
    if match is None and none_match is None:
        return UNCONDITIONAL
    return Conditions(
        _tags("If-Match", match, strong=True),
        _tags("If-None-Match", none_match, strong=False),
    )


def _tags(header: str, value: str | None, *, strong: bool) -> Tags:
    """If-Match compares strongly: a weak tag never matches."""
    if value is None:
        return None
    if value.strip() == "*":
        return frozenset({ANY})
    members = _members(value)
    if not members:
        raise Problem(
            "malformed",
            f'{header} must be * or entity tags such as "5f3a", as ETag gave them.',
        )
    return frozenset(tag for weak, tag in members if not (strong and weak))


def _members(value: str) -> list[tuple[bool, str]]:
    """Whether it is weak, and the opaque tag; none when the list is malformed."""
    found: list[tuple[bool, str]] = []
    at = 0
    while at < len(value):
        member = MEMBER.match(value, at)
        if member is None:
            return []
        if member[2] is not None:
            found.append((member[1] is not None, member[2]))
        at = member.end()
    return found
