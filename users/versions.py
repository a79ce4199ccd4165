"""The version of a user: the moment of its last change, which only ever grows."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import F, Q, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Greatest

from config.api.conditions import ANY, Conditions

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)  # what timestamptz resolves


def tag(user: dict[str, Any]) -> str:
    return f"{(user['updated_at'] - EPOCH) // TICK:x}"


def etag(user: dict[str, Any]) -> str:
    return f'"{tag(user)}"'


def after(now: datetime) -> Combinable:
    """The next version: later than the last one even where this Region's clock is behind."""
    return Greatest(Value(now), F("updated_at") + Value(TICK))


def precondition(conditions: Conditions) -> Q:
    """The conditions as a part of WHERE, so that the database decides and no race can."""
    wanted = Q()
    if conditions.match is not None and ANY not in conditions.match:
        wanted &= Q(updated_at__in=list(_moments(conditions.match)))
    if conditions.none_match is not None:
        if ANY in conditions.none_match:
            return Q(updated_at__in=[])
        wanted &= ~Q(updated_at__in=list(_moments(conditions.none_match)))
    return wanted


def _moments(tags: frozenset[str]) -> Iterator[datetime]:
    """Tags that no user of ours can have match nothing."""
    for text in tags:
        try:
            ticks = int(text, 16)
            # Tags are compared letter by letter: RFC 9110, section 8.8.3.2.
            if f"{ticks:x}" == text:
                yield EPOCH + ticks * TICK
        except (ValueError, OverflowError):
            continue
