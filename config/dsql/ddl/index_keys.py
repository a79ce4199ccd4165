"""The keys of an index as DSQL takes them: without order, collation and operator class.

Whatever would change what the index is good for raises NotSupportedError.
"""

from collections.abc import Iterable
from typing import Any

from django.db import NotSupportedError
from django.db.models.expressions import OrderBy
from django.db.models.functions import Collate

# Operator classes that order and compare as the default does under the C collation.
HARMLESS_OPCLASSES = {
    "", "varchar_pattern_ops", "text_pattern_ops", "bpchar_pattern_ops", "varchar_ops",
    "text_ops", "bpchar_ops", "int2_ops", "int4_ops", "int8_ops", "numeric_ops",
    "float4_ops", "float8_ops", "date_ops", "time_ops", "timestamp_ops",
    "timestamptz_ops", "interval_ops", "uuid_ops", "bool_ops", "bytea_ops",
}  # fmt: skip


class KeyOrder(OrderBy):
    """An index key without ASC or DESC, which DSQL refuses: it scans both ways."""

    template = "%(expression)s"


def refuse_method(model: Any, using: str) -> None:
    method = using.replace("USING", "").strip()
    if method not in ("", "btree"):
        raise NotSupportedError(
            f"DSQL has one kind of index and no {method} indexes; remove it from "
            f"{model._meta.label} or use django.db.models.Index."
        )


def refuse_opclasses(model: Any, opclasses: Iterable[str]) -> None:
    """Unless each is harmless; those are then left out."""
    refused = {name.lower() for name in opclasses} - HARMLESS_OPCLASSES
    if refused:
        raise NotSupportedError(
            f"DSQL has no operator classes; {', '.join(sorted(refused))} of an index of "
            f"{model._meta.label} would change its results. Remove it."
        )


def plain_keys(model: Any, expressions: Any) -> Any:
    """Index expressions without order, collation and operator class."""
    if not expressions:
        return expressions
    keys = expressions.copy()
    keys.set_source_expressions(
        [_plain_key(model, key) for key in keys.get_source_expressions()]
    )
    return keys


def _plain_key(model: Any, key: Any) -> Any:
    key, (inner, *rest) = key.copy(), key.get_source_expressions()
    inner = inner.copy()
    if isinstance(inner, OrderBy):
        first, last = inner.nulls_first, inner.nulls_last
        if inner.descending:  # read backwards, so NULLs lie at the other end
            first, last = last, first
        inner = KeyOrder(inner.expression, nulls_first=first, nulls_last=last)
    for wrapper in inner.flatten():
        _refuse_wrapper(model, wrapper)
    key.set_source_expressions([_unwrap(inner), *rest])
    return key


def _refuse_wrapper(model: Any, wrapper: Any) -> None:
    collation = "C"
    if isinstance(wrapper, Collate):
        collation = wrapper.collation  # type: ignore[attr-defined]  # not in the stubs
    if collation != "C":
        raise NotSupportedError(
            f"DSQL has the collation C only; remove {collation} from an index of "
            f"{model._meta.label}."
        )
    if _is_opclass(wrapper):
        refuse_opclasses(model, [wrapper.extra["name"]])


def _unwrap(expression: Any) -> Any:
    """Without Collate and OpClass, which change nothing here."""
    if isinstance(expression, Collate) or _is_opclass(expression):
        return _unwrap(expression.get_source_expressions()[0])
    if isinstance(expression, KeyOrder):
        expression.expression = _unwrap(expression.expression)
    return expression


def _is_opclass(expression: Any) -> bool:
    # contrib.postgres, which defines it, need not be installed.
    return type(expression).__name__ == "OpClass"
