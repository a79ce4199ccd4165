"""Repeat the first statement of a transaction when it conflicts: nothing is done yet.

In autocommit it is the only statement. Code that knows no runner (Django's migration
recorder, contrib apps) so survives the OC001 that follows every DDL. Later statements of
a transaction are not repeated: only the transaction's owner can do that.
"""

import re
from collections.abc import Callable
from typing import Any

from django.db import Error
from django.db.backends import utils
from django.db.backends.postgresql import base
from psycopg.sql import Composable

from .blocks import SCHEMA_CHANGE, note_statement
from .deadlines import note_region, require_time
from .retry import note_commit, repeat
from .statements import is_synchronous_index

READ = re.compile(r"[\s(]*(?:SELECT|SHOW)\b", re.IGNORECASE)


def is_read(sql: object) -> bool:
    """Whether the statement only reads, so that running it twice is safe; False if unsure."""
    if not isinstance(sql, str) or READ.match(sql) is None:
        return False
    return ";" not in sql.rstrip("; \t\r\n")  # another statement may follow


class CursorWrapper(utils.CursorWrapper):
    db: Any
    cursor: Any

    def _execute(self, sql: Any, params: Any, *ignored: Any) -> Any:
        execute = super()._execute  # type: ignore[misc]  # not in the stubs
        if isinstance(sql, Composable):
            sql = sql.as_string(self.cursor)
        is_text = isinstance(sql, str)
        if is_text and SCHEMA_CHANGE.match(sql) and self._has_type(sql):
            return None
        self._note_change(sql)
        if self.db.in_transaction() or self.db.needs_rollback:
            return self._execute_once(execute, sql, params)

        def attempt() -> Any:
            self._restart()
            return self._execute_once(execute, sql, params)

        return repeat(attempt)

    def _executemany(self, sql: Any, param_list: Any, *ignored: Any) -> Any:
        execute = super()._executemany  # type: ignore[misc]  # not in the stubs
        self._note_change(sql)
        if self.db.autocommit and not is_read(sql):
            note_commit()  # of some of them, perhaps, when it fails
        return self._execute_once(execute, sql, param_list)

    def callproc(self, procname: Any, params: Any = None, kparams: Any = None) -> Any:
        call: Any = super().callproc
        statement = f"CALL {procname}"  # what it does is not known
        self._note_change(statement)
        return self._execute_once(
            lambda _, given: call(procname, given, kparams), statement, params
        )

    def stream(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        """psycopg's ``stream()``."""
        self._note_unseen(query)
        return self.cursor.stream(query, *args, **kwargs)

    def copy(self, statement: Any, *args: Any, **kwargs: Any) -> Any:
        """psycopg's ``copy()``."""
        self._note_unseen(statement)
        return self.cursor.copy(statement, *args, **kwargs)

    def _note_unseen(self, sql: Any) -> None:
        """A statement begins whose end psycopg alone will see."""
        if isinstance(sql, Composable):
            sql = sql.as_string(self.cursor)
        self._note_change(sql)
        if self.db.autocommit and not is_read(sql):
            note_commit()  # perhaps, when it fails

    def _has_type(self, sql: str) -> bool:
        from .ddl.same_type import has_type  # no request changes the schema

        return has_type(self.db, sql)

    def _note_change(self, sql: Any) -> None:
        # An index of raw SQL is built before the block's transaction or after it.
        if not (self.db.autocommit or is_read(sql) or is_synchronous_index(sql)):
            note_statement(self.db, sql)

    def _restart(self) -> None:
        if not self.db.autocommit:
            with self.db.wrap_database_errors:
                if not self.db.connection.closed:
                    self.db.connection.rollback()  # of the attempt before, if any
        elif self.db.reconnect_if_closed():
            self.cursor = self.db.create_cursor()

    def _execute_once(self, execute: Callable[..., Any], sql: Any, params: Any) -> Any:
        require_time()
        note_region(self.db.peer_region)
        try:
            result = execute(sql, params)
        except Error as error:
            self.db.translate_error(error, harmless=is_read(sql))
            raise
        self.db.proven = True
        if self.db.autocommit and not is_read(sql):
            note_commit()
        return result


class CursorDebugWrapper(CursorWrapper, base.CursorDebugWrapper):
    def copy(self, statement: Any, *args: Any, **kwargs: Any) -> Any:
        with self.debug_sql(statement):
            return super().copy(statement, *args, **kwargs)
