"""Changes of the schema inside an atomic block, which DSQL takes alone in a transaction.

Those of the schema editor take many statements, each in a transaction of its own: the
block's transaction, which holds no changes of rows, is ended before them and begins anew
with the next statement. One that a cursor sends is part of the block's transaction, which
is committed before another. A block changes the schema or rows, never both: the changes
of the schema would stay where those of rows are rolled back.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db.transaction import TransactionManagementError
from psycopg import pq

# Spaces and comments; possessive, so that many of them take no longer than they are.
LEADING = r"(?>\s|--[^\n]*\n|/\*.*?\*/)*+"
SCHEMA_CHANGE = re.compile(
    rf"{LEADING}(?:ALTER|COMMENT|CREATE|DROP|GRANT|REVOKE)\b",
    re.IGNORECASE | re.DOTALL,
)
# Of the session, or when constraints are checked; LOCAL would end with the transaction.
SETTING = re.compile(
    rf"{LEADING}(?:RESET|SET(?!\s+LOCAL\b))\b", re.IGNORECASE | re.DOTALL
)
MIXTURE = (
    "DSQL takes one DDL statement per transaction and none beside DML: change the schema "
    "outside of atomic blocks (atomic = False), in a migration inside "
    "RunPython(…, atomic=False)."
)
# What Django keeps of an open block, and this backend with it.
STATE = (
    "autocommit", "in_atomic_block", "commit_on_exit", "savepoint_ids", "atomic_blocks",
    "run_on_commit", "rollback_exc", "undone", "handled",
)  # fmt: skip


def is_schema_change(sql: object) -> bool:
    return isinstance(sql, str) and SCHEMA_CHANGE.match(sql) is not None


def note_statement(connection: Any, sql: object) -> None:
    """A statement that is not a read is about to be sent in the open transaction.

    Raises TransactionManagementError when the block would change the schema and rows.
    """
    changes_schema = is_schema_change(sql)
    is_setting = isinstance(sql, str) and SETTING.match(sql)
    if connection.in_atomic_block and is_setting:
        return
    if connection.in_atomic_block and connection.changed:
        if changes_schema != connection.schema_changed:
            raise TransactionManagementError(MIXTURE)
        if changes_schema and connection.in_transaction():
            _end_transaction(connection)
    connection.changed, connection.schema_changed = True, changes_schema


@contextmanager
def outside_block(connection: Any, *, noted: bool = True) -> Iterator[None]:
    """Inside, statements run in autocommit, also where an atomic block is open.

    With ``noted`` the block is from then on one that changes the schema. Raises
    TransactionManagementError when it has changed rows.
    """
    if not connection.in_atomic_block:
        yield
        return
    if connection.changed and not connection.schema_changed:
        raise TransactionManagementError(MIXTURE)
    connection.validate_no_broken_transaction()
    if connection.in_transaction():
        _end_transaction(connection)
    state = {name: getattr(connection, name) for name in STATE}
    changes = connection.changed or noted
    _leave(connection)
    try:
        yield
    finally:
        _return(connection, state)
        connection.changed = connection.schema_changed = changes


def _end_transaction(connection: Any) -> None:
    """Commit: what a cursor has changed in the schema, or set for the session, stays."""
    driver = connection.connection
    is_open = not driver.closed
    if is_open and driver.info.transaction_status == pq.TransactionStatus.INERROR:
        raise TransactionManagementError(
            "A statement of this atomic block has failed. End the block before you change "
            "the schema."
        )
    if is_open or connection.schema_changed:
        connection.commit_open()


def _leave(connection: Any) -> None:
    connection.autocommit, connection.in_atomic_block = True, False
    connection.savepoint_ids, connection.atomic_blocks = [], []
    connection.run_on_commit = []
    if not connection.reconnect_if_closed():
        connection._set_autocommit(True)


def _return(connection: Any, state: dict[str, Any]) -> None:
    is_open = connection.connection is not None and not connection.connection.closed
    if is_open:
        connection._set_autocommit(False)
    for name, value in state.items():
        setattr(connection, name, value)
    if not is_open:  # as Django does when a connection is closed in a block
        connection.closed_in_transaction = connection.needs_rollback = True
