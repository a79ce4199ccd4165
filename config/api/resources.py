"""One row of a resource: its version, changes under conditions, and responses about it.

The model has the fields ``id``, a UUID, and ``updated_at``, the version: the moment of the
last change, which only ever grows. Rows are dictionaries.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, Expression, Model, Q, QuerySet
from django.db.models.sql.compiler import SQLCompiler
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request

from config.api.access import has_scope
from config.api.conditions import ANY, UNCONDITIONAL, Conditions
from config.api.idempotency import ERASURE
from config.api.problems import Problem
from config.api.region import serving_region
from config.api.responses import empty_response, json_response
from config.dsql.conflicts import constraints
from config.dsql.prepared import Changes, Delete, Update
from config.dsql.slots import as_value
from config.dsql.writes import execute_together

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)  # what timestamptz resolves
NEW = "new_"  # before the names of values, which no other argument has
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
    for row in _UPDATE.rows(
        model=model,
        fields=tuple(fields),
        key=key,
        now=timezone.now(),
        **_versions(conditions),
        **{f"{NEW}{name}": value for name, value in values.items()},
    ):
        return row
    _require_missing(model, key, conditions)
    return None


def delete_row(
    model: type[Model], key: uuid.UUID, conditions: Conditions = UNCONDITIONAL
) -> bool:
    """True when the row existed; the stored response to its creation is erased with it.

    Raises PreconditionFailed.
    """
    try:
        deletion = _DELETE.bind(model=model, key=key, **_versions(conditions))
        if execute_together(deletion, ERASURE.bind(model=model, key=key)):
            return True
    except EmptyResultSet:  # no row can have such a version
        pass
    _require_missing(model, key, conditions)
    return False


@contextmanager
def refuse_duplicate(constraint: str, problem: Callable[[], Problem]) -> Iterator[None]:
    """Raises the problem where a write meets that unique index."""
    try:
        yield
    except IntegrityError as error:
        if constraint in constraints(error):
            raise problem() from error
        raise


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

    def __init__(self, now: Any, values: Mapping[str, Any]) -> None:
        super().__init__(output_field=DateTimeField())
        self.now, self.values = now, values

    def resolve_expression(self, *args: Any, **kwargs: Any) -> "NextVersion":
        return self  # the columns are the updated row's

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, Any]:
        quote, model = connection.ops.quote_name, compiler.query.get_meta()
        version = quote("updated_at")
        same: list[str] = []
        params: list[Any] = []
        for name, value in self.values.items():
            field: Any = model.get_field(name)
            if value is None:
                same.append(f"{quote(field.column)} IS NULL")
                continue
            text, values = compiler.compile(as_value(value, field))
            same.append(f"{quote(field.column)} = {text}")
            params += values
        now, moment = compiler.compile(as_value(self.now, self.output_field))
        return (
            f"CASE WHEN {' AND '.join(same)} THEN {version} "
            f"ELSE GREATEST({now}, {version} + %s) END",
            [*params, *moment, TICK],
        )


def _rows(
    model: type[Model], key: Any, match: Any, none_match: Any
) -> QuerySet[Any, Any]:
    """The conditions are a part of WHERE: the database decides, and no race can."""
    condition = Q(pk=key)
    if match is not None:
        condition &= Q(updated_at__in=match)
    if none_match is not None:
        condition &= ~Q(updated_at__in=none_match)
    return model._default_manager.filter(condition)  # noqa: SLF001 - Django's documented API


def _build_update(
    *,
    model: type[Model],
    fields: Sequence[str],
    key: Any,
    now: Any,
    match: Any,
    none_match: Any,
    **new: Any,
) -> Changes:
    values = {name.removeprefix(NEW): value for name, value in new.items()}
    changed = {**values, "updated_at": NextVersion(now, values)}
    return Changes(_rows(model, key, match, none_match), changed, fields)


_UPDATE = Update(_build_update, constants=("model", "fields"))
_DELETE = Delete(_rows, constants=("model",))


def _versions(conditions: Conditions) -> dict[str, list[datetime] | None]:
    """The versions that the conditions name and exclude; None where they allow any."""
    match, none_match = conditions.match, conditions.none_match
    if none_match is not None and ANY in none_match:
        return {"match": [], "none_match": None}
    return {
        "match": None if match is None or ANY in match else list(_moments(match)),
        "none_match": None if none_match is None else list(_moments(none_match)),
    }


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
