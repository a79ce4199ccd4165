"""Statements that start a job: what is asked of PostgreSQL at once, and what later."""

from typing import Any

from postgast import pg_query_pb2 as pg

from ops.sandbox.rules.model import Kind, Refusal, Statement
from ops.sandbox.rules.relations import literal, quoted, regclass
from ops.sandbox.rules.scan import take_out_unique
from ops.sandbox.rules.tables import (
    alter_table,
    column_count_guards,
    create_index,
    index_count_guard,
    primary_key_guards,
)

DROPPED_BY_JOB = {pg.OBJECT_TABLE, pg.OBJECT_INDEX}


def index_statement(sql: str, node: Any, is_async: bool) -> Statement:
    """An index that is built at once and shown as invalid until its job has ended.

    Its job makes it unique: rows that forbid that must not fail the statement.
    """
    refusal = create_index(node, is_async)
    flags = f"{node.unique}, {node.nulls_not_distinct}"
    return Statement(
        take_out_unique(sql) if node.unique else sql,
        Kind.DDL,
        refusal,
        submits=f"sandbox.submit_index({regclass(node.relation)}, {flags})",
        guard=index_count_guard(node),
    )


def alter_table_statement(sql: str, node: Any, is_async: bool) -> Statement:
    refusal = alter_table(node, is_async)
    if not is_async or refusal:
        guard = " UNION ALL ".join(
            [*primary_key_guards(node), *column_count_guards(node)]
        )
        return Statement(sql, Kind.DDL, refusal, guard=guard)
    command = node.cmds[0].alter_table_cmd
    if len(node.cmds) != 1 or command.subtype != pg.AT_ValidateConstraint:
        return Statement(
            sql, Kind.DDL, Refusal("42601", 'syntax error at or near "ASYNC"')
        )
    where = f"{regclass(node.relation)}, {literal(command.name)}"
    return Statement(
        f"SELECT sandbox.find_constraint({where})",
        Kind.DDL,
        submits=f"sandbox.submit_validation({where})",
        tag="ALTER TABLE",
        discard_rows=True,
    )


def drop_guard(node: Any) -> str:
    """A query that submits the jobs of a DROP and answers no row, or nothing."""
    if node.remove_type not in DROPPED_BY_JOB:
        return ""
    names = [
        ".".join(quoted(part.string.sval) for part in item.list.items)
        for item in node.objects
    ]
    rels = ", ".join(f"to_regclass({literal(name)})::oid" for name in names)
    return f"SELECT * FROM sandbox.submit_drops(ARRAY[{rels}])"  # noqa: S608 - quoted
