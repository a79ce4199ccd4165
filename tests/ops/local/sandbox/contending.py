"""Two sessions that want the same rows."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors

Connection = psycopg.Connection[Any]
Open = Callable[[], Connection]
OC000 = r"change conflicts with another transaction \(OC000\)"


class Tables:
    """Makes tables and drops them; other tests' tables are never touched."""

    def __init__(self, open_session: Open) -> None:
        self._open, self._made = open_session, list[str]()
        self.stem = f"c{uuid4().hex[:8]}"

    def make(self, *columns: str) -> str:
        name = f"{self.stem}_{len(self._made)}"
        self._open().execute(f"CREATE TABLE {name} ({', '.join(columns)})")
        self._made.append(name)
        return name

    def drop(self) -> None:
        for name in reversed(self._made):
            self._open().execute(f"DROP TABLE {name} CASCADE")


def rows(connection: Connection, sql: str) -> list[Any]:
    return connection.execute(sql).fetchall()


def commit_fails(connection: Connection) -> None:
    with pytest.raises(errors.SerializationFailure, match=OC000):
        connection.execute("COMMIT")
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def move_to_shadow_tables(mine: Connection, other: Connection, keyed: str) -> None:
    """Let a single statement want a row that ``mine`` has written."""
    mine.execute(f"UPDATE {keyed} SET v = 5 WHERE id = 1")
    other.execute(f"SELECT v FROM {keyed} WHERE id = 1 FOR UPDATE")
