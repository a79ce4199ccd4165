"""Statements that the ORM composes once and that are executed with ever new values.

Composing a statement takes the ORM several times as long as sending it takes the driver,
and it is the same statement each time. A function that builds a queryset becomes a
prepared one::

    @prepared.query
    def user_by_id(*, user_id: UUID) -> QuerySet[User, dict[str, Any]]:
        return User.objects.values("id", "name").filter(pk=user_id)

    user_by_id.first(user_id=key)

Each call's values have a shape: which of them are None, their types, the lengths of
lists, and the whole value of booleans and of the ``constants``. For a new shape the
function runs with the values and with slots in their place. When both statements agree,
the SQL is kept with a recipe for its parameters: each value passes the preparation of the
lookup or of the field that it stands for. Whatever does not fit (a lookup outside
``slots.LOOKUPS``, a value that the lookup refuses or that changes the SQL, an unusual queryset)
is composed as if it were not prepared, so a result is never other than the ORM's.

What is kept holds SQL, lookups, fields and converters, never a compiler or a connection.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.models import QuerySet, sql
from django.db.models.query import (
    FlatValuesListIterable,
    ModelIterable,
    ValuesIterable,
    ValuesListIterable,
)
from django.db.models.sql.compiler import SQLCompiler
from django.utils.timezone import get_current_timezone

from .slots import (
    DoesNotFit,
    Slot,
    Source,
    ValueRefused,
    as_value,
    parse_parameters,
    record_places,
)

Row = TypeVar("Row")
Values = Mapping[str, Any]
DATABASE = DEFAULT_DB_ALIAS  # whose statements are prepared
UNKNOWN: Any = object()
MAX_SHAPES = 128  # per statement; all are dropped when there is one more
COLLECTIONS = (list, tuple, set, frozenset)


@dataclass(frozen=True, slots=True)
class Bound:
    """A statement with its parameters, ready for a cursor, and the reader of its rows."""

    sql: str
    params: Sequence[Any]
    read: Callable[[Iterable[Sequence[Any]], BaseDatabaseWrapper], list[Any]]


@dataclass(frozen=True, slots=True)
class Changes:
    """What an UPDATE is built of: the rows, their new values, and fields to return."""

    rows: QuerySet[Any, Any]
    values: Values
    returning: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Template:
    """A statement without its values: SQL, and where each parameter comes from."""

    sql: str
    parts: tuple[Source | tuple[Any, ...], ...]  # a source of parameters, or constants
    read: Callable[[Iterable[Sequence[Any]], BaseDatabaseWrapper], list[Any]]

    def bind(self, values: Values, connection: BaseDatabaseWrapper) -> Bound:
        params: list[Any] = []
        for part in self.parts:
            if isinstance(part, tuple):
                params += part
            else:
                params += part.params(values[part.name], connection)
        return Bound(self.sql, params, self.read)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Makes of database rows what the queryset would yield."""

    converters: tuple[tuple[int, tuple[Any, ...], Any], ...]
    make: Callable[[Sequence[Any], BaseDatabaseWrapper], Any]

    def __call__(
        self, rows: Iterable[Sequence[Any]], connection: BaseDatabaseWrapper
    ) -> list[Any]:
        if self.converters:
            rows = [self._converted(row, connection) for row in rows]
        return [self.make(row, connection) for row in rows]

    def _converted(
        self, row: Sequence[Any], connection: BaseDatabaseWrapper
    ) -> Sequence[Any]:
        converted = list(row)
        for position, functions, expression in self.converters:
            for function in functions:
                converted[position] = function(
                    converted[position], expression, connection
                )
        return converted


def _converters(
    compiler: SQLCompiler, columns: Iterable[Any]
) -> tuple[tuple[int, tuple[Any, ...], Any], ...]:
    found = compiler.get_converters(list(columns))
    for functions, _ in found.values():
        for function in functions:
            # It would keep the connection.
            if isinstance(getattr(function, "__self__", None), BaseDatabaseOperations):
                raise DoesNotFit
    return tuple(
        (position, tuple(functions), expression)
        for position, (functions, expression) in found.items()
    )


def _dictionaries(
    names: Sequence[str],
) -> Callable[[Sequence[Any], BaseDatabaseWrapper], dict[str, Any]]:
    return lambda row, _: dict(zip(names, row, strict=True))


def _maker(
    rows: QuerySet[Any, Any], compiler: SQLCompiler
) -> Callable[[Sequence[Any], BaseDatabaseWrapper], Any]:
    """What the queryset's own iterable does with one row."""
    query, iterable = rows.query, rows._iterable_class
    if iterable is ModelIterable:
        if compiler.annotation_col_map or query.select_related or query.extra_select:
            raise DoesNotFit
        names = [column.target.attname for column, _, _ in compiler.select]
        model = rows.model
        return lambda row, connection: model.from_db(connection.alias, names, row)
    if query.extra_select:
        raise DoesNotFit
    if iterable is ValuesIterable:
        return _dictionaries(
            list(query.selected)
            if query.selected
            else [*query.values_select, *query.annotation_select]
        )
    if iterable is ValuesListIterable:
        return lambda row, _: tuple(row)
    if iterable is FlatValuesListIterable:
        return lambda row, _: row[0]
    raise DoesNotFit


class _Prepared:
    """Base of the prepared statements; a subclass composes what its function builds."""

    def __init__(
        self,
        build: Callable[..., Any],
        constants: Iterable[str] = (),
    ) -> None:
        self.build = build
        self._constants = frozenset(constants)
        self._templates: dict[tuple[Any, ...], _Template | None] = {}

    def bind(self, **values: Any) -> Bound:
        """The statement with these values. Raises EmptyResultSet when no row can match."""
        connection = connections[DATABASE]
        bound = self._bound(values, connection)
        return bound or self._compose(self.build(**values), connection)

    def _bound(self, values: Values, connection: BaseDatabaseWrapper) -> Bound | None:
        """None where the statement is to be composed."""
        # Dates and hours of moments are those of the active time zone.
        shape: tuple[Any, ...] = (
            get_current_timezone(),
            *(
                (name, value if name in self._constants else _shape(value))
                for name, value in values.items()
            ),
        )
        try:
            template = self._templates.get(shape, UNKNOWN)
            if template is UNKNOWN:
                template = self._prepare(values, connection)
                if len(self._templates) >= MAX_SHAPES:
                    self._templates.clear()
                self._templates[shape] = template
            return None if template is None else template.bind(values, connection)
        except Exception:  # noqa: BLE001 - the ORM composes it, and words what is wrong
            return None

    def _prepare(
        self, values: Values, connection: BaseDatabaseWrapper
    ) -> _Template | None:
        """None for a shape that does not fit; raises when only these values do not."""
        slots = {
            name: value
            if name in self._constants or _is_part_of_shape(value)
            else Slot(name, value)
            for name, value in values.items()
        }
        plain = self._compose(self.build(**values), connection)
        try:
            recorded = self._compose(self.build(**slots), connection, record=True)
            template = _Template(
                recorded.sql, parse_parameters(recorded.params), recorded.read
            )
            again = template.bind(values, connection)
        except ValueRefused:
            raise
        except Exception:  # noqa: BLE001 - the function does more than place the value
            return None
        used = {part.name for part in template.parts if not isinstance(part, tuple)}
        # A value that is not a parameter is a part of the SQL, or of another parameter.
        whole = used == {name for name in slots if isinstance(slots[name], Slot)}
        same = (again.sql, list(again.params)) == (plain.sql, list(plain.params))
        return template if whole and same else None

    def _compose(
        self, built: Any, connection: BaseDatabaseWrapper, *, record: bool = False
    ) -> Bound:
        raise NotImplementedError


def _is_part_of_shape(value: Any) -> bool:
    return value is None or value is True or value is False or value == ""


def _shape(value: Any) -> Any:
    """What of a value the statement may depend on."""
    if _is_part_of_shape(value):
        return value
    if isinstance(value, COLLECTIONS):
        return type(value), len(value)
    return type(value)


def _no_rows(rows: Iterable[Any], connection: BaseDatabaseWrapper) -> list[Any]:
    return []


class Query(_Prepared, Generic[Row]):
    """A SELECT; the function builds a queryset, sliced or not."""

    def rows(self, **values: Any) -> list[Row]:
        """What the queryset yields."""
        connection = connections[DATABASE]
        bound = self._bound(values, connection)
        if bound is None:
            return list(self.build(**values))
        with connection.cursor() as cursor:
            cursor.execute(bound.sql, bound.params)
            return bound.read(cursor.fetchall(), connection)

    def first(self, **values: Any) -> Row | None:
        """The first of the rows, or None; the function limits them, not this."""
        return next(iter(self.rows(**values)), None)

    def _compose(
        self, built: Any, connection: BaseDatabaseWrapper, *, record: bool = False
    ) -> Bound:
        query = built.query.clone()
        if record:
            related = built._prefetch_related_lookups or built._known_related_objects
            if query.select_for_update or query.combinator or related:
                raise DoesNotFit
            if built.db != DATABASE:
                raise DoesNotFit
            record_places(query.where)
        compiler = query.get_compiler(connection=connection)
        statement, params = compiler.as_sql()
        if not record:  # the queryset itself reads its rows
            return Bound(statement, params, _no_rows)
        converters = _converters(compiler, [column for column, _, _ in compiler.select])
        return Bound(statement, params, _Reader(converters, _maker(built, compiler)))


def _require_whole(rows: QuerySet[Any, Any]) -> None:
    """Raise TypeError for what an UPDATE or DELETE would leave out, and touch more rows."""
    query = rows.query
    if query.is_sliced or query.distinct or query.combinator or query.group_by:
        raise TypeError(
            "A prepared change takes a queryset without slice, distinct, union and groups."
        )
    if rows.db != DATABASE:
        raise TypeError(f"A prepared change is made in the database {DATABASE!r}.")


class Update(_Prepared):
    """An UPDATE, with RETURNING where fields are named; the function builds ``Changes``."""

    def rows(self, **values: Any) -> list[dict[str, Any]]:
        """The returned fields of each row that was updated."""
        connection = connections[DATABASE]
        try:
            bound = self.bind(**values)
        except EmptyResultSet:
            return []
        with connection.cursor() as cursor:
            cursor.execute(bound.sql, bound.params)
            rows = cursor.fetchall() if cursor.description else []
            return bound.read(rows, connection)

    def _compose(
        self, built: Any, connection: BaseDatabaseWrapper, *, record: bool = False
    ) -> Bound:
        _require_whole(built.rows)
        meta = built.rows.model._meta
        query = built.rows.query.chain(klass=sql.UpdateQuery)
        query.add_update_values(
            {
                name: as_value(value, meta.get_field(name))
                if isinstance(value, Slot)
                else value
                for name, value in built.values.items()
            }
        )
        if record:
            record_places(query.where)
        compiler = query.get_compiler(connection=connection)
        statement, params = compiler.as_sql()
        if not built.returning:
            return Bound(statement, params, _no_rows)
        # Django 5.2 has no UPDATE … RETURNING; a SELECT would be a second round trip.
        columns = [meta.get_field(name).cached_col for name in built.returning]
        quoted = (connection.ops.quote_name(column.target.column) for column in columns)
        reader = _Reader(_converters(compiler, columns), _dictionaries(built.returning))
        return Bound(f"{statement} RETURNING {', '.join(quoted)}", params, reader)


class Delete(_Prepared):
    """A DELETE of one table's rows; the function builds the queryset of what goes."""

    def _compose(
        self, built: Any, connection: BaseDatabaseWrapper, *, record: bool = False
    ) -> Bound:
        _require_whole(built)
        query = built.query.chain(klass=sql.DeleteQuery)
        if record:
            record_places(query.where)
        statement, params = query.get_compiler(connection=connection).as_sql()
        return Bound(statement, params, _no_rows)
