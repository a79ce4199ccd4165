"""Preconditions, RFC 9110 section 13: what the client believes the resource to be."""

import re
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest

from config.api.problems import Problem

# A list's member with its comma; an empty one counts for nothing (RFC 9110, sections 5.6.1
# and 8.8.3).
MEMBER = re.compile(r'[ \t]*(?:(W/)?"([!\x23-\x7e\x80-\xff]*)"[ \t]*)?(?:,|\Z)')
MAX_TAGS, MAX_CHARACTERS = 100, 4096  # each tag is a parameter of the statement
ANY = '"*"'  # with its quotes no opaque tag can be it: "*" is one, * is not
Tags = frozenset[str] | None  # None: the header was not sent; {ANY}: any resource


@dataclass(frozen=True, slots=True)
class Conditions:
    """The opaque tags of ``If-Match`` and ``If-None-Match``."""

    match: Tags = None
    none_match: Tags = None
    weak: bool = False  # whether If-Match held a tag that cannot match

    def __bool__(self) -> bool:
        return self.match is not None or self.none_match is not None

    def not_modified(self, tag: str) -> bool:
        """Whether the response to a GET is 304: the client holds this very state."""
        return self.none_match is not None and bool(self.none_match & {ANY, tag})

    def failure(self) -> str:
        """What is wrong when a condition does not hold and the resource exists."""
        if self.weak:
            return (
                "If-Match has a weak tag (W/), which never matches: send the ETag as it was "
                "given."
            )
        if self.match is not None and self.none_match is None:
            return (
                "This is not the version that If-Match names: it has changed since, or the "
                "tag is another's. Read it again and decide again."
            )
        if self.match is None and self.none_match == frozenset({ANY}):
            return (
                "If-None-Match: * holds only where nothing exists, and this exists: send "
                "If-Match to change it."
            )
        if self.match is None:
            return "This is a version that If-None-Match names."
        return "This is not the version that If-Match and If-None-Match require."


UNCONDITIONAL = Conditions()


def parse_conditions(request: HttpRequest) -> Conditions:
    """Read both headers. Raises Problem when one is malformed."""
    match = request.META.get("HTTP_IF_MATCH")
    none_match = request.META.get("HTTP_IF_NONE_MATCH")
    if match is None and none_match is None:
        return UNCONDITIONAL
    excluded, _ = _tags("If-None-Match", none_match)
    strong, weak = _tags("If-Match", match)
    if strong is not None and weak:  # it compares strongly
        strong -= weak
    return Conditions(strong, excluded, weak=bool(weak))


def required_conditions(request: HttpRequest) -> Conditions:
    """The conditions of a change; If-Match is mandatory where the deployment says so.

    RFC 6585, section 3. Raises Problem.
    """
    conditions = parse_conditions(request)
    if settings.REQUIRE_IF_MATCH and conditions.match is None:
        raise Problem(
            "precondition_required", "Send If-Match with the ETag you last read."
        )
    return conditions


def _tags(header: str, value: str | None) -> tuple[Tags, frozenset[str]]:
    """All tags, and those that came as weak ones only."""
    if value is None:
        return None, frozenset()
    if value.strip() == "*":
        return frozenset({ANY}), frozenset()
    members = _members(value) if len(value) <= MAX_CHARACTERS else []
    if not 1 <= len(members) <= MAX_TAGS:
        raise Problem(
            "malformed",
            f'{header} must be * or entity tags such as "5f3a", as ETag gave them: at most '
            f"{MAX_TAGS}, and {MAX_CHARACTERS} characters.",
        )
    every = frozenset(tag for _, tag in members)
    return every, every - {tag for weak, tag in members if not weak}


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
