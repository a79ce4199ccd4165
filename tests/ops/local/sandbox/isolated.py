"""Two sessions, each with a transaction of its own."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import errors

Connection = psycopg.Connection[Any]
Open = Callable[[], Connection]
OC000 = r"change conflicts with another transaction \(OC000\)"


def rows(connection: Connection, sql: str) -> list[Any]:
    return connection.execute(sql).fetchall()


def commit_fails(connection: Connection) -> None:
    with pytest.raises(errors.SerializationFailure, match=OC000):
        connection.execute("COMMIT")
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
