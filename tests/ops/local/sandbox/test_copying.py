"""COPY FROM STDIN, the way of loading data that DSQL documents."""

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors

from ops.local.sandbox import copying, lifecycle, messages
from ops.local.sandbox.messages import message
from tests.golden.replay import connect
from tests.ops.local.sandbox.upstream import SYNC, extended
from tests.ops.local.sandbox.wire import Wire, opened

Connection = psycopg.Connection[Any]
ROW, DONE = message(b"d", b"1\tone\n"), message(b"c")


@pytest.fixture
def session(sandbox: lifecycle.Status) -> Iterator[Connection]:
    with connect(sandbox) as connection:
        yield connection


@pytest.fixture
def name(sandbox: lifecycle.Status) -> Iterator[str]:
    """Of a table that a test makes."""
    made = f"y{uuid.uuid4().hex[:8]}"
    yield made
    with connect(sandbox) as connection:
        connection.execute(f"DROP TABLE IF EXISTS {made}")


@pytest.fixture
def wire(sandbox: lifecycle.Status, name: str) -> Iterator[Wire]:
    with opened(sandbox) as found:
        found.query(f"CREATE TABLE {name} (a int PRIMARY KEY, b text)")
        yield found


def one(connection: Connection, sql: str) -> Any:
    return connection.execute(sql).fetchone()


def copy(connection: Connection, name: str, rows: range) -> int:
    cursor = connection.cursor()
    with cursor.copy(f"COPY {name} FROM STDIN") as sink:
        for number in rows:
            sink.write_row((number, f"text {number}"))
    return cursor.rowcount


def test_copy_loads_rows_and_counts_them(session: Connection, name: str) -> None:
    session.execute(f"CREATE TABLE {name} (a int PRIMARY KEY, b text)")
    assert copy(session, name, range(3000)) == 3000
    with pytest.raises(errors.ProgramLimitExceeded, match="row limit"):
        copy(session, name, range(5000, 8001))
    assert one(session, f"SELECT count(*), max(b) FROM {name}") == (3000, "text 999")
    with session.transaction():
        copy(session, name, range(5000, 7000))
        session.execute(f"INSERT INTO {name} VALUES (-1, '')")
    with pytest.raises(errors.UniqueViolation):
        copy(session, name, range(4999, 5001))
    with (
        pytest.raises(errors.BadCopyFileFormat),
        session.cursor().copy(f"COPY {name} FROM STDIN") as sink,
    ):
        sink.write(b"too\tmany\tcolumns\n")
    with pytest.raises(errors.UndefinedTable):
        copy(session, "no_table", range(1))
    assert one(session, f"SELECT count(*) FROM {name}") == (5001,)


def test_copy_meets_other_transactions_as_any_write_does(
    session: Connection, name: str, sandbox: lifecycle.Status
) -> None:
    session.execute(f"CREATE TABLE {name} (a int PRIMARY KEY, b text)")
    with connect(sandbox) as other:
        for connection in (session, other):
            connection.execute("BEGIN")
            connection.execute(f"SELECT * FROM {name}")
        copy(other, name, range(10))
        assert copy(session, name, range(5, 15)) == 10
        assert one(session, f"SELECT count(*) FROM {name}") == (10,)
        other.execute("COMMIT")
        with pytest.raises(errors.SerializationFailure, match="OC000"):
            session.execute("COMMIT")
        assert one(other, f"SELECT count(*) FROM {name}") == (10,)


# Message by message


def test_rows_may_follow_at_once_in_both_protocols(wire: Wire, name: str) -> None:
    sql = f"COPY {name} FROM STDIN"
    answer = wire.send(messages.query(sql), ROW, DONE)
    assert answer == ["G", "C COPY 1", "Z I"]
    wire.query(f"DELETE FROM {name}")
    # As libpq does: a Sync before it knows of the COPY, and one at its end.
    answer = wire.send(extended(sql), SYNC, ROW, DONE, SYNC)
    assert answer == ["1", "2", "G", "C COPY 1", "Z I"]
    assert wire.send(extended("SELECT 1"), SYNC)[-2:] == ["C SELECT 1", "Z I"]


@pytest.mark.parametrize("protocol", ["simple", "extended"])
@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (message(b"f", b"no more\0"), "E 57014 COPY from stdin failed: no more"),
        (
            messages.query("SELECT 1"),
            "E 08P01 unexpected message type 0x51 during COPY from stdin",
        ),
        (message(b"d", b"x\ty\n") + DONE,
         'E 22P02 invalid input syntax for type integer: "x"'),
    ],
)  # fmt: skip
def test_a_failed_copy_leaves_nothing(
    wire: Wire, name: str, protocol: str, sent: bytes, error: str
) -> None:
    sql = f"COPY {name} FROM STDIN"
    if protocol == "simple":
        answer = wire.send(messages.query(sql), ROW, sent)
        assert answer == ["G", error, "Z I"]
    else:
        answer = wire.send(extended(sql), SYNC, ROW, sent, SYNC)
        assert answer == ["1", "2", "G", error, "Z I"]
    assert wire.query(f"SELECT FROM {name}")[-2:] == ["C SELECT 0", "Z I"]


def test_a_copy_is_one_statement_of_a_query(wire: Wire, name: str) -> None:
    sql = f"COPY {name} FROM STDIN; INSERT INTO {name} VALUES (1, 'again')"
    answer = wire.send(messages.query(sql), ROW, DONE)
    assert answer[0:2] == ["G", "C COPY 1"]
    assert answer[2].startswith("E 23505")
    assert wire.query(f"SELECT FROM {name}")[-2] == "C SELECT 0"


def test_more_than_any_transaction_holds_is_not_kept(wire: Wire, name: str) -> None:
    piece = message(b"d", b"x" * (1 << 20))
    pieces = [piece] * (copying.MAX_ROWS_TEXT // (1 << 20) + 2)
    answer = wire.send(messages.query(f"COPY {name} FROM STDIN"), *pieces, DONE)
    assert answer == ["G", "E 54000 transaction size limit 10mb exceeded", "Z I"]


def test_other_copies_are_refused(session: Connection, name: str) -> None:
    session.execute(f"CREATE TABLE {name} (a int)")
    for sql in (f"COPY {name} TO STDOUT", f"COPY {name} FROM '/etc/passwd'"):
        with pytest.raises(
            errors.FeatureNotSupported, match="unsupported statement: Copy"
        ):
            session.execute(sql)
