"""The places of values in a statement that the ORM composes: see prepared.py."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression, Field, Value, lookups
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.where import WhereNode

# What their parameters are depends on nothing but the value and the left-hand side.
LOOKUPS = (
    lookups.Exact,
    lookups.IExact,
    lookups.GreaterThan,
    lookups.GreaterThanOrEqual,
    lookups.LessThan,
    lookups.LessThanOrEqual,
    lookups.In,
    lookups.PatternLookup,
)


class DoesNotFit(Exception):
    """The statement, or this value of it, has to be composed by the ORM each time."""


class ValueRefused(Exception):
    """The lookup says that with this value no row matches, or every row does."""


class Slot(Value):
    """The place of a value in a statement that is being composed.

    It stands beside a lookup of the outermost WHERE, or in as_value(). A function that
    looks at the value itself gets DoesNotFit: what it decides is a part of the SQL.
    """

    is_expression = False  # whether as_value() made it

    def __init__(
        self, name: str, value: Any, output_field: "Field[Any, Any] | None" = None
    ) -> None:
        super().__init__(value, output_field)
        self.name = name

    def as_sql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> tuple[str, Any]:
        if not self.is_expression:  # a lookup that is not recorded prepares its value
            raise DoesNotFit
        statement, params = super().as_sql(compiler, connection)
        field = self._output_field_or_none  # type: ignore[attr-defined]  # not in the stubs
        if statement != "%s" or hasattr(field, "get_placeholder"):
            raise DoesNotFit
        source = FieldSource(self.name, field, self.for_save)
        return statement, [Place(source, 0) for _ in params]

    def __eq__(self, other: object) -> bool:
        if other == "":
            return False  # the ORM asks it for Oracle; an empty text is never a slot
        if not isinstance(other, Expression):
            raise DoesNotFit
        return super().__eq__(other)

    __hash__ = Value.__hash__

    def _look(self, *_: Any) -> Any:
        raise DoesNotFit

    __bool__ = __lt__ = __le__ = __gt__ = __ge__ = _look
    __len__ = __iter__ = __contains__ = __getitem__ = _look


def as_value(value: Any, field: "Field[Any, Any] | None" = None) -> Value:
    """The value as an expression, whether it is one to send or a slot."""
    if not isinstance(value, Slot):
        return Value(value, field)
    slot = Slot(value.name, value.value, field)
    slot.is_expression = True
    return slot


@dataclass(frozen=True, slots=True, eq=False)
class FieldSource:
    """The parameter that a field, or none, makes of a value."""

    name: str
    field: "Field[Any, Any] | None"
    for_save: bool

    def params(self, value: Any, connection: BaseDatabaseWrapper) -> Sequence[Any]:
        if self.field is None:
            return [value]
        prepare = (
            self.field.get_db_prep_save
            if self.for_save
            else self.field.get_db_prep_value
        )
        return [prepare(value, connection)]


@dataclass(slots=True, eq=False)
class LookupSource:
    """The parameters that a lookup makes of a value, with the SQL they stand in."""

    name: str
    lookup: "type[lookups.Lookup[Any]]"
    lhs: Any
    sql: str = ""
    count: int = 0

    def params(self, value: Any, connection: BaseDatabaseWrapper) -> Sequence[Any]:
        lookup = self.lookup(self.lhs, value)
        statement, params = lookup.process_rhs(None, connection)  # type: ignore[arg-type]  # compiles expressions, and a value is none
        if statement != self.sql or len(params) != self.count:
            raise DoesNotFit
        return params


Source = FieldSource | LookupSource


@dataclass(frozen=True, slots=True)
class Place:
    """Stands among a statement's parameters for the one with this index of a source."""

    source: Source
    index: int


def _record_lookup(leaf: "lookups.Lookup[Any]", slot: Slot) -> "lookups.Lookup[Any]":
    """The lookup with the slot's value, which leaves places instead of parameters."""
    kind = type(leaf)
    if not issubclass(kind, LOOKUPS):
        raise DoesNotFit
    source = LookupSource(slot.name, kind, leaf.lhs)

    class Recording(kind):  # type: ignore[misc, valid-type]  # the lookup's own class
        def process_rhs(self, compiler: Any, connection: Any) -> tuple[str, Any]:
            try:
                source.sql, params = super().process_rhs(compiler, connection)
            except (EmptyResultSet, FullResultSet) as error:
                raise ValueRefused from error
            source.count = len(params)
            return source.sql, [Place(source, i) for i in range(source.count)]

    recording = Recording(leaf.lhs, slot.value)
    if recording.bilateral_transforms:
        raise DoesNotFit
    return recording


def record_places(where: WhereNode) -> None:
    """Replace each lookup of a slot; a slot inside an expression records itself."""
    for index, child in enumerate(where.children):
        if isinstance(child, WhereNode):
            record_places(child)
        elif isinstance(child, lookups.Lookup) and isinstance(child.rhs, Slot):
            where.children[index] = _record_lookup(child, child.rhs)  # type: ignore[call-overload]  # lookups are leaves, too


def parse_parameters(params: Iterable[Any]) -> tuple[Source | tuple[Any, ...], ...]:
    parts: list[Source | tuple[Any, ...]] = []
    expected = 0  # the index of the next parameter of the last source
    for param in params:
        if not isinstance(param, Place):
            parts.append((param,))
        elif param.index == 0:
            parts.append(param.source)
            expected = 1
        elif parts and parts[-1] is param.source and param.index == expected:
            expected += 1
        else:
            raise DoesNotFit
    return tuple(parts)
