"""The verdict per kind of statement. Texts: recordings of a real cluster.

What the documents and recordings of DSQL name has a handler; every other kind of
statement is refused by its name.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError
from postgast import PgQueryError, parse
from postgast import pg_query_pb2 as pg

from ops.local.sandbox.rules.assumptions import is_assumed
from ops.local.sandbox.rules.background import (
    alter_table_statement,
    drop_guard,
    index_statement,
)
from ops.local.sandbox.rules.model import Kind, Refusal, Statement
from ops.local.sandbox.rules.queries import find_refusal, query
from ops.local.sandbox.rules.relations import format_name, literal, quoted
from ops.local.sandbox.rules.settings import set_statement, show_statement
from ops.local.sandbox.rules.tables import check_create_table
from ops.local.sandbox.rules.types import (
    RANGES,
    add_default_precision,
    check_altered_sequence,
    check_column_type,
    check_sequence,
    parse_type_name,
    unsupported,
)

Handler = Callable[[str, Any, bool], Statement]
# Refused by words of their own; others: "unsupported statement: <Node>".
REFUSAL_TEXTS = {
    "create_trig_stmt": "CREATE TRIGGER not supported",
    "create_enum_stmt": "CREATE TYPE not supported",
    "alter_enum_stmt": "ALTER TYPE not supported",
    "alter_type_stmt": "ALTER TYPE not supported",
    "merge_stmt": "unsupported statement type: MERGE",
}
ROUTINES = {"OBJECT_FUNCTION", "OBJECT_ROUTINE"}
RELATIONS = {"OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_INDEX", "OBJECT_SEQUENCE"}
# What each of these statements may be about.
OBJECTS = {
    "DROP": {
        *RELATIONS, *ROUTINES, "OBJECT_SCHEMA", "OBJECT_DOMAIN", "OBJECT_STATISTIC_EXT",
        "OBJECT_PROCEDURE",
    },
    "RENAME": {
        *RELATIONS, *ROUTINES, "OBJECT_SCHEMA", "OBJECT_STATISTIC_EXT", "OBJECT_COLUMN",
        "OBJECT_TABCONSTRAINT", "OBJECT_ROLE",
    },
    "COMMENT": {
        *RELATIONS, *ROUTINES, "OBJECT_COLUMN", "OBJECT_TABCONSTRAINT", "OBJECT_SCHEMA",
        "OBJECT_DOMAIN", "OBJECT_STATISTIC_EXT",
    },
    "SET SCHEMA": {*RELATIONS, *ROUTINES, "OBJECT_DOMAIN", "OBJECT_STATISTIC_EXT"},
    "OWNER": {
        *RELATIONS, *ROUTINES, "OBJECT_SCHEMA", "OBJECT_DOMAIN", "OBJECT_STATISTIC_EXT",
    },
    "GRANT": {
        "OBJECT_TABLE", "OBJECT_SEQUENCE", "OBJECT_SCHEMA", *ROUTINES,
    },
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
QUERIES = ("select_stmt", "insert_stmt", "update_stmt", "delete_stmt")


def verdict(sql: str, wrapped: Any, *, is_async: bool) -> Statement:
    """Judge one parsed statement; ``sql`` already lacks DSQL's own words."""
    name = wrapped.WhichOneof("node")
    node = getattr(wrapped, name)
    if name in QUERIES:
        return query(sql, node)
    if name in REFUSAL_TEXTS:
        return Statement(sql, Kind.DDL, unsupported(REFUSAL_TEXTS[name]))
    handler = HANDLERS.get(name)
    if handler is None or (name == "do_stmt" and not is_assumed("plpgsql")):
        return Statement(sql, Kind.DDL, unsupported_kind(node))
    found = handler(sql, node, is_async)
    if found.kind is Kind.DDL and found.refusal is None:
        refusal = find_refusal(node)
        return Statement(sql, Kind.DDL, refusal) if refusal else found
    return found


def unsupported_kind(node: Any) -> Refusal:
    name = type(node).__name__.removesuffix("Stmt")
    return unsupported(f"unsupported statement: {name}")


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
        return Statement(
            f"CALL sys.wait_for_job({literal(job)}, NULL)", Kind.READ, waits_for_job=job
        )
    return Statement(sql, Kind.WRITE, nested=True)


def _copy(sql: str, node: Any, is_async: bool) -> Statement:
    """COPY table FROM STDIN is how data are loaded; no other form is named."""
    from_client = node.is_from and not node.filename and not node.is_program
    if not from_client or node.HasField("query") or is_assumed("no-copy"):
        return Statement(sql, Kind.WRITE, unsupported_kind(node))
    return Statement(sql, Kind.WRITE, find_refusal(node), copies=True)


def _do(sql: str, node: Any, is_async: bool) -> Statement:
    return Statement(sql, Kind.WRITE, nested=True)


def _explain(sql: str, node: Any, is_async: bool) -> Statement:
    inner = verdict(sql, node.query, is_async=False)
    options = {option.def_elem.defname for option in node.options}
    kind = inner.kind if "analyze" in options else Kind.READ
    nested = kind is Kind.WRITE  # its tag counts nothing
    estimates = {"analyze", "verbose"} <= options and "format" not in options
    return Statement(sql, kind, inner.refusal, nested=nested, estimates=estimates)


def _deallocate(sql: str, node: Any, is_async: bool) -> Statement:
    refused = node.name and not is_assumed("deallocate-name")
    refusal = unsupported_kind(node) if refused else None
    return Statement(sql, Kind.SETTING, refusal, deallocates=node.name)


def _constraints(sql: str, node: Any, is_async: bool) -> Statement:
    return Statement(sql, Kind.SETTING, sets_constraints=True)


# Objects


def _object_refusal(statement: str, kind: int) -> Refusal | None:
    if pg.ObjectType.Name(kind) in OBJECTS[statement]:
        return None
    return unsupported(f"unsupported object in {statement} statement")


def _drop(sql: str, node: Any, is_async: bool) -> Statement:
    refusal = _object_refusal("DROP", node.remove_type)
    if refusal is None and node.concurrent:
        message = "DROP INDEX CONCURRENTLY must be first action in transaction"
        refusal = unsupported(message)
    return Statement(sql, Kind.DDL, refusal, guard=drop_guard(node))


def _rename(sql: str, node: Any, is_async: bool) -> Statement:
    return Statement(sql, Kind.DDL, _object_refusal("RENAME", node.rename_type))


def _comment(sql: str, node: Any, is_async: bool) -> Statement:
    return Statement(sql, Kind.DDL, _object_refusal("COMMENT", node.objtype))


def _set_schema(sql: str, node: Any, is_async: bool) -> Statement:
    return Statement(sql, Kind.DDL, _object_refusal("SET SCHEMA", node.object_type))


def _owner(sql: str, node: Any, is_async: bool) -> Statement:
    return Statement(sql, Kind.DDL, _object_refusal("OWNER", node.object_type))


def _grant(sql: str, node: Any, is_async: bool) -> Statement:
    if pg.ObjectType.Name(node.objtype) not in OBJECTS["GRANT"]:
        return Statement(sql, Kind.DDL, unsupported("unsupported object type in GRANT"))
    on_public = any(item.string.sval == "public" for item in node.objects)
    if node.objtype == pg.OBJECT_SCHEMA and on_public:
        message = "feature not supported on system entity"
        return Statement(sql, Kind.DDL, unsupported(message))
    return Statement(sql, Kind.DDL)


def _ddl(sql: str, node: Any, is_async: bool) -> Statement:
    return Statement(sql, Kind.DDL)


# Functions, schemas, views


def _function(sql: str, node: Any, is_async: bool) -> Statement:
    if node.is_procedure and not is_assumed("plpgsql"):
        return Statement(sql, Kind.DDL, unsupported("PROCEDURE is not supported"))
    if parse_type_name(node.return_type) in RANGES:
        message = f"datatype {parse_type_name(node.return_type)} not supported"
        return Statement(sql, Kind.DDL, unsupported(message))
    languages = {"sql", "plpgsql"} if is_assumed("plpgsql") else {"sql"}
    for option in node.options:
        language = option.def_elem.arg.string.sval
        if option.def_elem.defname == "language" and language.lower() not in languages:
            message = f"CREATE FUNCTION with language {language} not supported"
            return Statement(sql, Kind.DDL, unsupported(message))
    return Statement(sql, Kind.DDL, _body_refusal(node))


def _body_refusal(node: Any) -> Refusal | None:
    """For a statement in the text of an SQL function."""
    texts = [
        item.string.sval
        for option in node.options
        if option.def_elem.defname == "as"
        for item in option.def_elem.arg.list.items
    ]
    try:
        trees = parse(texts[0]).stmts if len(texts) == 1 else []
    except (PgQueryError, DecodeError):
        return None  # PL/pgSQL, or PostgreSQL words the error
    found = (verdict("", tree.stmt, is_async=False).refusal for tree in trees)
    return next((refusal for refusal in found if refusal), None)


def _schema(sql: str, node: Any, is_async: bool) -> Statement:
    inner = (verdict(sql, part, is_async=False).refusal for part in node.schema_elts)
    refusal = next((found for found in inner if found), None)
    return Statement(
        add_default_precision(sql, node), Kind.DDL, refusal, guard=SCHEMA_GUARD
    )


def _view(sql: str, node: Any, is_async: bool) -> Statement:
    if node.view.relpersistence == "t":
        message = "TEMPORARY or TEMP view not supported for CREATE VIEW"
        return Statement(sql, Kind.DDL, unsupported(message))
    return Statement(sql, Kind.DDL)


def _domain(sql: str, node: Any, is_async: bool) -> Statement:
    refusal = check_column_type(node.type_name)
    if refusal is None and node.HasField("coll_clause"):
        refusal = unsupported("COLLATE clause not supported")
    name = ".".join(quoted(part.string.sval) for part in node.domainname)
    check = f"SELECT sandbox.check_domain({literal(name)}::regtype)"
    return Statement(add_default_precision(sql, node), Kind.DDL, refusal, verify=check)


def _table(sql: str, node: Any, is_async: bool) -> Statement:
    check = (
        f"SELECT sandbox.check_table({literal(format_name(node.relation))}::regclass)"
    )
    text = add_default_precision(sql, node)
    return Statement(text, Kind.DDL, check_create_table(node, is_async), verify=check)


def _sequence(rule: Callable[[Any, bool], Refusal | None]) -> Handler:
    def judge_sequence(sql: str, node: Any, is_async: bool) -> Statement:
        return Statement(sql, Kind.DDL, rule(node, is_async))

    return judge_sequence


HANDLERS: dict[str, Handler] = {
    "transaction_stmt": _transaction,
    "variable_set_stmt": set_statement,
    "variable_show_stmt": show_statement,
    "constraints_set_stmt": _constraints,
    "deallocate_stmt": _deallocate,
    "vacuum_stmt": _vacuum,
    "call_stmt": _call,
    "copy_stmt": _copy,
    "do_stmt": _do,
    "explain_stmt": _explain,
    "drop_stmt": _drop,
    "rename_stmt": _rename,
    "comment_stmt": _comment,
    "alter_object_schema_stmt": _set_schema,
    "alter_owner_stmt": _owner,
    "grant_stmt": _grant,
    "create_stmt": _table,
    "create_seq_stmt": _sequence(check_sequence),
    "alter_seq_stmt": _sequence(check_altered_sequence),
    "create_schema_stmt": _schema,
    "create_domain_stmt": _domain,
    "create_function_stmt": _function,
    "view_stmt": _view,
    "alter_table_stmt": alter_table_statement,
    "index_stmt": index_statement,
    **dict.fromkeys(
        [
            "alter_function_stmt", "alter_default_privileges_stmt", "create_role_stmt",
            "alter_role_stmt", "drop_role_stmt", "grant_role_stmt", "create_stats_stmt",
            "alter_stats_stmt",
        ],
        _ddl,
    ),
}  # fmt: skip
