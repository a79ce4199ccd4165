"""Queries, and what no expression of any statement may have."""

from typing import Any

from postgast import pg_query_pb2 as pg
from postgast import walk

from ops.local.sandbox.rules.assumptions import is_assumed
from ops.local.sandbox.rules.model import Kind, Refusal, Statement
from ops.local.sandbox.rules.scan import strip_wait_policy
from ops.local.sandbox.rules.types import GEOMETRY, RANGES, parse_type_name, unsupported

REFUSED_FUNCTIONS = {
    "pg_backend_pid", "pg_cancel_backend", "pg_terminate_backend", "pg_sleep_until",
    "pg_notify", "lastval", "lo_import", "lo_export",
}  # fmt: skip
ADVISORY = "pg_advisory_", "pg_try_advisory_"
GROWING = {
    "repeat", "lpad", "rpad", "string_agg", "array_to_string", "array_agg", "json_agg",
    "jsonb_agg", "json_object_agg", "jsonb_object_agg", "concat", "concat_ws", "format",
    "replace", "regexp_replace", "convert_to", "decode",
}  # fmt: skip
LOCKS = {pg.LCS_FORUPDATE: "FOR UPDATE", pg.LCS_FORKEYSHARE: "FOR KEY SHARE"}


def query(sql: str, node: Any) -> Statement:
    refusal, locks = None, ""
    waits, calls = False, set()
    writes = 0
    for _, part in walk(node):
        refusal = refusal or find_node_refusal(part)
        if isinstance(part, pg.InsertStmt | pg.UpdateStmt | pg.DeleteStmt):
            writes += 1
        elif isinstance(part, pg.LockingClause):
            locks = max(locks, LOCKS.get(part.strength, ""))
            waits = waits or part.wait_policy != pg.LockWaitBlock
        elif isinstance(part, pg.FuncCall):
            calls.add(part.funcname[-1].string.sval)
    kind = Kind.WRITE if writes else Kind.LOCK if locks else Kind.READ
    # A tag counts the rows of the outermost statement.
    nested = writes > (0 if isinstance(node, pg.SelectStmt) else 1)
    text = strip_wait_policy(sql) if waits and refusal is None else sql
    return Statement(
        text,
        kind,
        refusal,
        locks=locks,
        nested=nested,
        calls=frozenset(calls),
        grows=bool(calls & GROWING),
    )


def find_refusal(node: Any) -> Refusal | None:
    """For any part of a statement."""
    found = (find_node_refusal(part) for _, part in walk(node))
    return next((refusal for refusal in found if refusal), None)


def find_node_refusal(part: Any) -> Refusal | None:
    if isinstance(part, pg.LockingClause):
        return _locking_refusal(part)
    if isinstance(part, pg.RangeTableSample):
        return unsupported("TABLESAMPLE clause not supported")
    if isinstance(part, pg.FuncCall):
        return _function_refusal(part.funcname[-1].string.sval)
    if isinstance(part, pg.TypeCast):
        return _cast_refusal(part.type_name)
    if isinstance(part, pg.JoinExpr):
        return _lateral_refusal(part)
    if isinstance(part, pg.IntoClause):
        return unsupported("unsupported statement: CreateTableAs")
    if isinstance(part, pg.CurrentOfExpr):
        return unsupported("WHERE CURRENT OF clause not supported")
    return None


def _locking_refusal(part: Any) -> Refusal | None:
    if part.strength not in LOCKS:
        return unsupported(
            "locking clauses other than FOR UPDATE/FOR KEY SHARE are not supported"
        )
    if part.wait_policy != pg.LockWaitBlock and not is_assumed("skip-locked"):
        return unsupported("NOWAIT and SKIP LOCKED are not supported")
    return None


def _function_refusal(name: str) -> Refusal | None:
    if name in REFUSED_FUNCTIONS or name.startswith(ADVISORY):
        return unsupported(f"function {name} not supported")
    if name in GEOMETRY | RANGES:
        return unsupported(f"datatype {name} not supported")
    return None


def _cast_refusal(type_name: Any) -> Refusal | None:
    name = parse_type_name(type_name)
    if name in GEOMETRY | RANGES:
        return unsupported(f"datatype {name} not supported")
    return None


def _lateral_refusal(join: Any) -> Refusal | None:
    """DSQL's planner fails on LEFT JOIN LATERAL whose targets name the outer relation."""
    if join.jointype != pg.JOIN_LEFT or not join.rarg.HasField("range_subselect"):
        return None
    inner = join.rarg.range_subselect
    if not inner.lateral or not join.larg.HasField("range_var"):
        return None
    outer = join.larg.range_var
    outer_name = outer.alias.aliasname or outer.relname
    select = inner.subquery.select_stmt
    names = {
        part.fields[0].string.sval
        for target in select.target_list
        for _, part in walk(target)
        if isinstance(part, pg.ColumnRef) and len(part.fields) > 1
    }
    if outer_name not in names or not select.from_clause:
        return None
    scanned = select.from_clause[0].range_var.relname
    return Refusal("42804", f"attribute 1 of type {scanned} has wrong type")
