"""Indexes: CREATE INDEX ASYNC and what its keys may be."""

from typing import Any

from postgast import pg_query_pb2 as pg

from ops.local.sandbox.rules.model import Refusal
from ops.local.sandbox.rules.relations import format_name, literal
from ops.local.sandbox.rules.scan import tokens
from ops.local.sandbox.rules.tables import (
    MAX_INDEXES,
    MAX_KEYS,
    TOO_MANY_KEYS,
    find_first,
)
from ops.local.sandbox.rules.types import KEY_TOO_LARGE, MAX_KEY, NO_KEYS, unsupported

TOO_MANY_INDEXES = f"54000 more than {MAX_INDEXES} indexes per table are not allowed"


def check_create_index(sql: str, node: Any, is_async: bool) -> Refusal | None:
    if node.concurrent:
        return unsupported("CONCURRENTLY not supported for CREATE INDEX")
    if not is_async:
        return unsupported("unsupported mode. please use CREATE INDEX ASYNC.")
    if node.access_method != "btree" or _says_using(sql):
        return unsupported("USING not supported for CREATE INDEX")
    if node.options:
        return unsupported("WITH not supported for CREATE INDEX")
    if node.table_space:
        return unsupported("TABLESPACE not supported for CREATE INDEX")
    if not node.relation.inh:
        return unsupported("ONLY not supported for CREATE INDEX")
    if len(node.index_params) > MAX_KEYS:
        return TOO_MANY_KEYS
    return find_first(check_index_key(param.index_elem) for param in node.index_params)


def _says_using(sql: str) -> bool:
    """Whether USING precedes the keys: the tree has btree in either case."""
    for token in tokens(sql):
        if token.text == "(":
            return False
        if token.kind == "word" and token.text.upper() == "USING":
            return True
    return False


def check_index_key(key: Any) -> Refusal | None:
    if key.ordering != pg.SORTBY_DEFAULT:
        return unsupported("specifying sort order not supported for index keys")
    if key.opclass or key.opclassopts:
        return unsupported("opclass not supported for index keys")
    if key.collation:
        return unsupported("COLLATE clause not supported")
    return None


def index_guards(node: Any) -> list[str]:
    """Queries for one index too many, and for columns that cannot be keys."""
    table = f"to_regclass({literal(format_name(node.relation))})"
    names = [param.index_elem.name for param in node.index_params]
    keys = ", ".join(literal(name) for name in names if name) or "NULL"
    refused = ", ".join(f"'{name}'" for name in NO_KEYS)
    size = f"{KEY_TOO_LARGE.sqlstate} {KEY_TOO_LARGE.message}"
    columns = f"FROM pg_attribute WHERE attrelid = {table} AND attname IN ({keys})"
    return [
        f"SELECT {literal(TOO_MANY_INDEXES)} FROM pg_index WHERE indrelid = {table} "  # noqa: S608 - quoted
        f"HAVING count(*) >= {MAX_INDEXES}",
        "SELECT concat('0A000 datatype ', sandbox.base_type(atttypid), "
        f"' is not supported in a key') {columns} "
        f"AND sandbox.base_type(atttypid) IN ({refused})",
        f"SELECT {literal(size)} {columns} "
        f"HAVING sum(sandbox.declared_size(atttypid, atttypmod)) > {MAX_KEY}",
    ]
