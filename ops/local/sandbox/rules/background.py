"""Statements that start a job: what PostgreSQL runs at once, and what later."""

from typing import Any

from postgast import pg_query_pb2 as pg

from ops.local.sandbox.rules.assumptions import is_assumed
from ops.local.sandbox.rules.indexes import check_create_index, index_guards
from ops.local.sandbox.rules.model import Kind, Refusal, Statement
from ops.local.sandbox.rules.relations import (
    format_name,
    literal,
    quoted,
    regclass,
)
from ops.local.sandbox.rules.scan import strip_unique
from ops.local.sandbox.rules.tables import (
    check_alter_table,
    column_count_guards,
    identity_guards,
    primary_key_guards,
)
from ops.local.sandbox.rules.types import add_default_precision

DROPPED_BY_JOB = {pg.OBJECT_TABLE, pg.OBJECT_INDEX}


def index_statement(sql: str, node: Any, is_async: bool) -> Statement:
    """An index that is built at once and shown as invalid until its job has ended.

    Its job makes it unique: rows that forbid that must not fail the statement.
    """
    refusal = check_create_index(sql, node, is_async)
    enforced = is_assumed("unique-enforced")
    flags = f"{node.unique}, {node.nulls_not_distinct}, {enforced}"
    return Statement(
        strip_unique(sql) if node.unique else sql,
        Kind.DDL,
        refusal,
        submits=f"sandbox.submit_index({regclass(node.relation)}, {flags})",
        guard=" UNION ALL ".join(index_guards(node)),
    )


def alter_table_statement(sql: str, node: Any, is_async: bool) -> Statement:
    refusal = check_alter_table(node, is_async)
    if not is_async or refusal:
        guards = (primary_key_guards, column_count_guards, identity_guards)
        guard = " UNION ALL ".join(query for found in guards for query in found(node))
        subtypes = {command.alter_table_cmd.subtype for command in node.cmds}
        check = f"SELECT sandbox.check_table({literal(format_name(node.relation))}::regclass)"
        verify = check if subtypes & {pg.AT_AddColumn, pg.AT_AddConstraint} else ""
        text = add_default_precision(sql, node)
        return Statement(text, Kind.DDL, refusal, guard=guard, verify=verify)
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
    """A query that submits the jobs of a DROP and returns no row, or an empty text."""
    if node.remove_type not in DROPPED_BY_JOB:
        return ""
    names = [
        ".".join(quoted(part.string.sval) for part in item.list.items)
        for item in node.objects
    ]
    rels = ", ".join(f"to_regclass({literal(name)})::oid" for name in names)
    return f"SELECT * FROM sandbox.submit_drops(ARRAY[{rels}])"  # noqa: S608 - quoted
