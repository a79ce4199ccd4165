"""The find_relations that a statement names."""

from collections.abc import Collection, Iterator
from typing import Any

from postgast import PgQueryError, parse, walk
from postgast import pg_query_pb2 as pg

from ops.local.sandbox.rules.scan import tokens


def find_relations(sql: str) -> frozenset[str]:
    """Every name that may be a table, each part in quotes; a CTE's name too."""
    return frozenset(format_name(part) for part in _range_vars(sql))


def redirect_to_shadows(sql: str, shadows: Collection[str]) -> str:
    """The statement with its schema-qualified names of shadowed tables led to pg_temp.

    Names without a schema find the temporary table by themselves.
    """
    text = sql.encode()
    found = [part for part in _range_vars(sql) if part.schemaname]
    for part in sorted(found, key=lambda part: part.location, reverse=True):
        if format_name(part) in shadows:
            head, tail = text[: part.location], text[part.location :].decode()
            schema = tokens(tail)[0]
            text = head + b"pg_temp" + tail[schema.end :].encode()
    return text.decode()


def _range_vars(sql: str) -> Iterator[Any]:
    try:
        tree = parse(sql)
    except PgQueryError:
        return
    for statement in tree.stmts:
        for _, part in walk(statement.stmt):
            if isinstance(part, pg.RangeVar):
                yield part


def format_name(part: Any) -> str:
    """A RangeVar's name, each part in quotes."""
    names = (part.schemaname, part.relname)
    return ".".join(quoted(name) for name in names if name)


def regclass(part: Any) -> str:
    """An expression for the relation; PostgreSQL words its error when there is none."""
    return f"{literal(format_name(part))}::regclass"


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
