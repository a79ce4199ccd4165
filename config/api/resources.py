"""One row of a resource: its version, changes under conditions, and responses about it.

The model has the fields ``id``, a UUID, and ``updated_at``, the version: the moment of the
last change, which only ever grows. Rows are dictionaries.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, Expression, Model, Q
from django.db.models.sql.compiler import SQLCompiler
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request

from config.api import idempotency
from config.api.access import has_scope
from config.api.conditions import ANY, UNCONDITIONAL, Conditions
from config.api.problems import Problem
from config.api.region import serving_region
from config.api.responses import empty_response, json_response
from config.dsql.writes import delete_with, update_returning

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)  # what timestamptz resolves
Row = dict[str, Any]


class PreconditionFailed(Problem):
    """The row exists, but not in the state that the conditions name."""

    def __init__(self, conditions: Conditions) -> None:
        super().__init__("precondition_failed", conditions.failure())


def tag(row: Row) -> str:
    return f"{(row['updated_at'] - EPOCH) // TICK:x}"


def etag(row: Row) -> str:
    return f'"{tag(row)}"'


def read_response(row: Row, conditions: Conditions) -> HttpResponse:
    """200 with the row, or 304. Raises PreconditionFailed."""
    opaque, headers = tag(row), {"ETag": etag(row)}
    if conditions.match is not None and not conditions.match & {ANY, opaque}:
        raise PreconditionFailed(conditions)
    if conditions.not_modified(opaque):
        return empty_response(304, headers)
    return json_response(row, headers=headers)


def created_response(request: Request, row: Row) -> HttpResponse:
    """201 with the row and the Region that wrote it."""
    headers = {"Location": f"{request.path}/{row['id']}", "ETag": etag(row)}
    content = {**row, "region": serving_region()}
    return json_response(content, status=201, headers=headers)


def changed_response(request: Request, row: Row, *, scope: str) -> HttpResponse:
    """200 with the row as it is now, or 204 for callers without the scope to read it."""
    headers = {"ETag": etag(row)}
    if has_scope(request, scope):
        return json_response(row, headers=headers)
    return empty_response(204, headers)


def update_row(
    model: type[Model],
    key: uuid.UUID,
    values: Mapping[str, Any],
    *,
    fields: Sequence[str],
    conditions: Conditions = UNCONDITIONAL,
) -> Row | None:
    """The named fields of the row after the change; None when there is no such row.

    A row that has these values already keeps its version. Raises PreconditionFailed.
    """
    changed = {**values, "updated_at": NextVersion(timezone.now(), values)}
    rows = model._default_manager.filter(Q(pk=key) & precondition(conditions))  # noqa: SLF001 - Django's documented API
    for row in update_returning(rows, changed, fields):
        return row
    _require_missing(model, key, conditions)
    return None


def delete_row(
    model: type[Model], key: uuid.UUID, conditions: Conditions = UNCONDITIONAL
) -> bool:
    """True when the row existed; the stored response to its creation is erased with it.

    Raises PreconditionFailed.
    """
    rows = model._default_manager.filter(precondition(conditions) & Q(pk=key))  # noqa: SLF001 - Django's documented API
    if delete_with(rows, idempotency.erasure(model, key)):
        return True
    _require_missing(model, key, conditions)
    return False


def _require_missing(
    model: type[Model], key: uuid.UUID, conditions: Conditions
) -> None:
    """A missing row is 404 whatever the conditions: RFC 9110, section 13.2.1."""
    rows = model._default_manager.filter(pk=key)  # noqa: SLF001 - Django's documented API
    if conditions and rows.exists():
        raise PreconditionFailed(conditions)


class NextVersion(Expression):
    """The same version if the row has the ``values`` already, else a later one.

    Later than the last one even where this Region's clock is behind. Not composed of
    Django's expressions: those take longer than the rest of the statement.
    """

    def __init__(self, now: datetime, values: Mapping[str, Any]) -> None:
        super().__init__(output_field=DateTimeField())
        self.now, self.values = now, values

    def resolve_expression(self, *args: Any, **kwargs: Any) -> "NextVersion":
        return self  # the columns are the updated row's

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, Any]:
        quote, model = connection.ops.quote_name, compiler.query.get_meta()
        version = quote("updated_at")
        fields: list[Any] = [model.get_field(name) for name in self.values]
        same = " AND ".join(f"{quote(field.column)} = %s" for field in fields)
        values = [
            field.get_db_prep_save(value, connection)
            for field, value in zip(fields, self.values.values(), strict=True)
        ]
        return (
            f"CASE WHEN {same} THEN {version} ELSE GREATEST(%s, {version} + %s) END",
            [*values, self.now, TICK],
        )


def precondition(conditions: Conditions) -> Q:
    """The conditions as a part of WHERE, so that the database decides and no race can."""
    condition = Q()
    if conditions.match is not None and ANY not in conditions.match:
        condition &= Q(updated_at__in=list(_moments(conditions.match)))
    if conditions.none_match is not None:
        if ANY in conditions.none_match:
            return Q(updated_at__in=[])
        condition &= ~Q(updated_at__in=list(_moments(conditions.none_match)))
    return condition


def _moments(tags: frozenset[str]) -> Iterator[datetime]:
    """Tags that no row can have match nothing."""
    for text in tags:
        try:
            ticks = int(text, 16)
            # Tags are compared letter by letter: RFC 9110, section 8.8.3.2.
            if f"{ticks:x}" == text:
                yield EPOCH + ticks * TICK
        except (ValueError, OverflowError):
            continue
