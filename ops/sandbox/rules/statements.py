"""The verdict per kind of statement. Texts: recordings of a real cluster."""

from collections.abc import Callable
from typing import Any

from postgast import pg_query_pb2 as pg
from postgast import walk

from ops.sandbox.rules.background import (
    alter_table_statement,
    drop_guard,
    index_statement,
)
from ops.sandbox.rules.model import Kind, Refusal, Statement
from ops.sandbox.rules.tables import create_table, sequence


def unsupported(message: str) -> Refusal:
    return Refusal("0A000", message)


# Statements refused as a kind: "unsupported statement: <Node>".
REFUSED_NODES = {
    "truncate_stmt": "Truncate",
    "create_extension_stmt": "CreateExtension",
    "createdb_stmt": "Createdb",
    "dropdb_stmt": "Dropdb",
    "create_table_as_stmt": "CreateTableAs",
    "composite_type_stmt": "CompositeType",
    "create_range_stmt": "CreateRange",
    "create_table_space_stmt": "CreateTableSpace",
    "create_foreign_table_stmt": "CreateForeignTable",
    "listen_stmt": "Listen",
    "notify_stmt": "Notify",
    "unlisten_stmt": "Unlisten",
    "alter_system_stmt": "AlterSystem",
    "declare_cursor_stmt": "DeclareCursor",
    "create_policy_stmt": "CreatePolicy",
    "copy_stmt": "Copy",
    "lock_stmt": "Lock",
    "do_stmt": "Do",
    "discard_stmt": "Discard",
    "prepare_stmt": "Prepare",
    "execute_stmt": "Execute",
}
REFUSED_TEXTS = {
    "create_trig_stmt": "CREATE TRIGGER not supported",
    "create_enum_stmt": "CREATE TYPE not supported",
    "alter_enum_stmt": "ALTER TYPE not supported",
    "merge_stmt": "unsupported statement type: MERGE",
}
# Only these settings may be changed; the rest are the cluster's business.
SETTINGS = {
    "timezone", "search_path", "client_encoding", "datestyle", "intervalstyle",
    "application_name", "extra_float_digits", "dsql.enable_batched_nestloop",
    "standard_conforming_strings", "bytea_output",
}  # fmt: skip
VERSION = {"server_version": "16.15", "server_version_num": "160015"}
REFUSED_FUNCTIONS = {
    "pg_backend_pid", "pg_advisory_lock", "pg_try_advisory_lock", "pg_advisory_unlock",
    "pg_advisory_xact_lock", "pg_try_advisory_xact_lock", "pg_advisory_lock_shared",
    "pg_advisory_unlock_all", "pg_cancel_backend", "pg_terminate_backend", "pg_sleep_until",
}  # fmt: skip
GEOMETRY = {"line", "circle", "point", "lseg", "box", "path", "polygon"}
OBJECTS_THAT_DROP = {
    "OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_INDEX", "OBJECT_SEQUENCE", "OBJECT_SCHEMA",
    "OBJECT_FUNCTION", "OBJECT_DOMAIN", "OBJECT_STATISTIC_EXT", "OBJECT_PROCEDURE",
    "OBJECT_ROUTINE",
}  # fmt: skip
MAX_SCHEMAS = 10
SCHEMA_GUARD = (
    f"SELECT '54000 more than {MAX_SCHEMAS} schemas are not allowed' FROM pg_namespace "  # noqa: S608 - constant
    "WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'sandbox', 'sys') "
    f"HAVING count(*) >= {MAX_SCHEMAS}"
)
TRANSACTION_KINDS = {
    "TRANS_STMT_BEGIN": Kind.BEGIN,
    "TRANS_STMT_START": Kind.BEGIN,
    "TRANS_STMT_COMMIT": Kind.COMMIT,
    "TRANS_STMT_ROLLBACK": Kind.ROLLBACK,
}
TRANSACTION_REFUSALS = {
    "TRANS_STMT_SAVEPOINT": "SAVEPOINT",
    "TRANS_STMT_RELEASE": "RELEASE",
    "TRANS_STMT_ROLLBACK_TO": "ROLLBACK TO",
    "TRANS_STMT_PREPARE": "PREPARE TRANSACTION",
    "TRANS_STMT_COMMIT_PREPARED": "COMMIT PREPARED",
    "TRANS_STMT_ROLLBACK_PREPARED": "ROLLBACK PREPARED",
}
LOCKS = {pg.LCS_FORUPDATE: "FOR UPDATE", pg.LCS_FORKEYSHARE: "FOR KEY SHARE"}
WRITES = ("insert_stmt", "update_stmt", "delete_stmt")


def verdict(sql: str, wrapped: Any, *, is_async: bool) -> Statement:
    """Judge one parsed statement; ``sql`` already lacks DSQL's own words."""
    name = wrapped.WhichOneof("node")
    node = getattr(wrapped, name)
    if name in REFUSED_NODES:
        message = f"unsupported statement: {REFUSED_NODES[name]}"
        return Statement(sql, Kind.DDL, unsupported(message))
    if name in REFUSED_TEXTS:
        return Statement(sql, Kind.DDL, unsupported(REFUSED_TEXTS[name]))
    if name in ("select_stmt", *WRITES):
        return query(sql, node)
    handler = HANDLERS.get(name)
    if handler is not None:
        return handler(sql, node, is_async)
    return Statement(sql, Kind.DDL)


def query(sql: str, node: Any) -> Statement:
    refusal, locks = None, ""
    writes = 0
    for _, part in walk(node):
        refusal = refusal or _query_refusal(part)
        if isinstance(part, pg.InsertStmt | pg.UpdateStmt | pg.DeleteStmt):
            writes += 1
        elif isinstance(part, pg.LockingClause):
            locks = max(locks, LOCKS.get(part.strength, ""))
    kind = Kind.WRITE if writes else Kind.LOCK if locks else Kind.READ
    # A tag counts the rows of the outermost statement.
    nested = writes > (0 if isinstance(node, pg.SelectStmt) else 1)
    return Statement(sql, kind, refusal, locks=locks, nested=nested)


def _query_refusal(part: Any) -> Refusal | None:
    if isinstance(part, pg.LockingClause):
        if part.strength not in (pg.LCS_FORUPDATE, pg.LCS_FORKEYSHARE):
            return unsupported(
                "locking clauses other than FOR UPDATE/FOR KEY SHARE are not supported"
            )
    elif isinstance(part, pg.RangeTableSample):
        return unsupported("TABLESAMPLE clause not supported")
    elif isinstance(part, pg.FuncCall):
        return _function_refusal(part.funcname[-1].string.sval)
    elif isinstance(part, pg.JoinExpr):
        return _lateral_refusal(part)
    elif isinstance(part, pg.IntoClause):
        return unsupported("unsupported statement: CreateTableAs")
    return None


def _function_refusal(name: str) -> Refusal | None:
    if name in REFUSED_FUNCTIONS:
        return unsupported(f"function {name} not supported")
    if name in GEOMETRY:
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


def _transaction(sql: str, node: Any, is_async: bool) -> Statement:
    name = pg.TransactionStmtKind.Name(node.kind)
    if name in TRANSACTION_REFUSALS:
        message = f"unsupported transaction statement: {TRANSACTION_REFUSALS[name]}"
        return Statement(sql, Kind.SETTING, unsupported(message))
    for option in node.options:
        level = option.def_elem.arg.a_const.sval.sval
        if (
            option.def_elem.defname == "transaction_isolation"
            and level != "repeatable read"
        ):
            message = f"Unsupported isolation level: {level.upper()}"
            return Statement(sql, Kind.BEGIN, unsupported(message))
    return Statement(sql, TRANSACTION_KINDS[name], chains=node.chain)


def _set(sql: str, node: Any, is_async: bool) -> Statement:
    reset = node.kind in (pg.VAR_RESET, pg.VAR_RESET_ALL)
    if not reset and node.name.lower() not in SETTINGS:
        message = f'setting configuration parameter "{node.name}" not supported'
        return Statement(sql, Kind.SETTING, unsupported(message))
    return Statement(sql, Kind.SETTING)


def _show(sql: str, node: Any, is_async: bool) -> Statement:
    version = VERSION.get(node.name.lower())
    if version:
        return Statement(
            f"SELECT '{version}' AS {node.name.lower()}", Kind.READ, tag="SHOW"
        )
    return Statement(sql, Kind.READ)


def _vacuum(sql: str, node: Any, is_async: bool) -> Statement:
    if node.is_vacuumcmd:
        return Statement(sql, Kind.DDL, unsupported("unsupported VACUUM statement"))
    return Statement(sql, Kind.DDL)


def _call(sql: str, node: Any, is_async: bool) -> Statement:
    if any(arg.HasField("sub_link") for arg in node.funccall.args):
        message = "cannot use subquery in CALL argument"
        return Statement(sql, Kind.READ, unsupported(message))
    names = [part.string.sval for part in node.funccall.funcname]
    args = node.funccall.args
    if names == ["sys", "wait_for_job"] and len(args) == 1:
        job = args[0].a_const.sval.sval
        # PostgreSQL wants a place for the procedure's result among the arguments.
        quoted = "'" + job.replace("'", "''") + "'"
        return Statement(
            f"CALL sys.wait_for_job({quoted}, NULL)", Kind.READ, waits_for_job=job
        )
    return Statement(sql, Kind.WRITE)


def _drop(sql: str, node: Any, is_async: bool) -> Statement:
    if pg.ObjectType.Name(node.remove_type) not in OBJECTS_THAT_DROP:
        return Statement(
            sql, Kind.DDL, unsupported("unsupported object in DROP statement")
        )
    if node.concurrent:
        message = "DROP INDEX CONCURRENTLY must be first action in transaction"
        return Statement(sql, Kind.DDL, unsupported(message))
    return Statement(sql, Kind.DDL, guard=drop_guard(node))


def _rename(sql: str, node: Any, is_async: bool) -> Statement:
    if node.rename_type == pg.OBJECT_TYPE:
        message = "unsupported object in RENAME statement"
        return Statement(sql, Kind.DDL, unsupported(message))
    return Statement(sql, Kind.DDL)


def _function(sql: str, node: Any, is_async: bool) -> Statement:
    if node.is_procedure:
        return Statement(sql, Kind.DDL, unsupported("PROCEDURE is not supported"))
    for option in node.options:
        language = option.def_elem.arg.string.sval
        if option.def_elem.defname == "language" and language.lower() != "sql":
            message = f"CREATE FUNCTION with language {language} not supported"
            return Statement(sql, Kind.DDL, unsupported(message))
    return Statement(sql, Kind.DDL)


def _explain(sql: str, node: Any, is_async: bool) -> Statement:
    inner = verdict(sql, node.query, is_async=False)
    analyzed = any(option.def_elem.defname == "analyze" for option in node.options)
    kind = inner.kind if analyzed else Kind.READ
    nested = kind is Kind.WRITE  # its tag counts nothing
    return Statement(sql, kind, inner.refusal, nested=nested)


def _grant(sql: str, node: Any, is_async: bool) -> Statement:
    if node.objtype == pg.OBJECT_DATABASE:
        return Statement(sql, Kind.DDL, unsupported("unsupported object type in GRANT"))
    on_public = any(item.string.sval == "public" for item in node.objects)
    if node.objtype == pg.OBJECT_SCHEMA and on_public:
        message = "feature not supported on system entity"
        return Statement(sql, Kind.DDL, unsupported(message))
    return Statement(sql, Kind.DDL)


def _deallocate(sql: str, node: Any, is_async: bool) -> Statement:
    return Statement(sql, Kind.SETTING, deallocates=node.name)


def _constraints(sql: str, node: Any, is_async: bool) -> Statement:
    return Statement(sql, Kind.SETTING, sets_constraints=True)


def _schema(sql: str, node: Any, is_async: bool) -> Statement:
    return Statement(sql, Kind.DDL, guard=SCHEMA_GUARD)


def _table(rule: Callable[[Any, bool], Refusal | None]) -> Any:
    def judge_table(sql: str, node: Any, is_async: bool) -> Statement:
        return Statement(sql, Kind.DDL, rule(node, is_async))

    return judge_table


HANDLERS: dict[str, Callable[[str, Any, bool], Statement]] = {
    "transaction_stmt": _transaction,
    "variable_set_stmt": _set,
    "variable_show_stmt": _show,
    "constraints_set_stmt": _constraints,
    "deallocate_stmt": _deallocate,
    "vacuum_stmt": _vacuum,
    "call_stmt": _call,
    "drop_stmt": _drop,
    "rename_stmt": _rename,
    "create_function_stmt": _function,
    "explain_stmt": _explain,
    "grant_stmt": _grant,
    "create_stmt": _table(create_table),
    "create_seq_stmt": _table(sequence),
    "create_schema_stmt": _schema,
    "alter_table_stmt": alter_table_statement,
    "index_stmt": index_statement,
}
