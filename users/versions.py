"""The version of a user: the moment of its last change, which only ever grows."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, Expression, Q
from django.db.models.sql.compiler import SQLCompiler

from config.api.conditions import ANY, Conditions

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)  # what timestamptz resolves


def tag(user: dict[str, Any]) -> str:
    return f"{(user['updated_at'] - EPOCH) // TICK:x}"


def etag(user: dict[str, Any]) -> str:
    return f'"{tag(user)}"'


class NextVersion(Expression):
    """The same version if the row has the ``values`` already, else a later one.

    Later than the last one even where this Region's clock is behind. Not composed of
    Django's expressions: those take longer than the rest of the statement.
    """

    def __init__(self, now: datetime, values: Mapping[str, str]) -> None:
        super().__init__(output_field=DateTimeField())
        self.now, self.values = now, values

    def resolve_expression(self, *args: Any, **kwargs: Any) -> "NextVersion":
        return self  # the columns are the updated row's

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, Any]:
        quote = connection.ops.quote_name
        version = quote("updated_at")
        same = " AND ".join(f"{quote(name)} = %s" for name in self.values)
        return (
            f"CASE WHEN {same} THEN {version} ELSE GREATEST(%s, {version} + %s) END",
            [*self.values.values(), self.now, TICK],
        )


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
