"""Preconditions, RFC 9110 section 13: what the client believes the resource to be."""

import re
from dataclasses import dataclass

from django.http import HttpRequest

from config.api.problems import Problem

ENTITY_TAG = re.compile(r'(W/)?"([!#-~]*)"')
ANY = "*"
Tags = frozenset[str] | None  # None: the header was not sent; {"*"}: any resource


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
    if value.strip() == ANY:
        return frozenset({ANY})
    found = set()
    for part in value.split(","):
        tag = ENTITY_TAG.fullmatch(part.strip())
        if tag is None:
            raise Problem(
                "malformed",
                f'{header} must be * or entity tags such as "5f3a", as ETag gave them.',
            )
        if not (strong and tag[1]):
            found.add(tag[2])
    return frozenset(found)
