"""ASYNC statements: what is seen at once, and what when the job has ended."""

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors
from psycopg.rows import dict_row

from ops.local.sandbox import lifecycle
from tests.conftest import JOB_DELAY
from tests.golden.replay import connect

Connection = psycopg.Connection[Any]
Hold = Callable[[bool], None]
NEVER = 3600.0


@pytest.fixture
def session(sandbox: lifecycle.Status) -> Iterator[Connection]:
    with connect(sandbox) as connection:
        yield connection


@pytest.fixture
def table(sandbox: lifecycle.Status, session: Connection) -> Iterator[str]:
    name = f"j{uuid4().hex[:8]}"
    session.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, a int, b text)")
    session.execute(f"INSERT INTO {name} VALUES (1, 1, 'x'), (2, 2, 'y')")
    yield name
    with connect(sandbox) as other:
        other.execute(f"DROP TABLE {name}")


@pytest.fixture
def hold(sandbox: lifecycle.Status) -> Iterator[Hold]:
    """Keep jobs from beginning, or let them go."""

    def set_delay(held: bool) -> None:
        lifecycle.up(sandbox.root, job_delay=NEVER if held else 0.0)

    yield set_delay
    lifecycle.up(sandbox.root, job_delay=JOB_DELAY)


def one(connection: Connection, sql: str, *params: Any) -> Any:
    return connection.execute(sql, params).fetchone()


def submit(connection: Connection, sql: str) -> str:
    cursor = connection.execute(sql)
    assert [column.name for column in cursor.description or ()] == ["job_id"]
    ((job,),) = cursor.fetchall()
    assert re.fullmatch("[a-z2-7]{26}", job)
    return str(job)


def finish(connection: Connection, job: str) -> bool:
    return bool(one(connection, f"CALL sys.wait_for_job('{job}')")[0])


def is_valid(connection: Connection, index: str) -> bool:
    sql = "SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass"
    return bool(one(connection, sql, index)[0])


def test_an_index_is_invalid_until_its_job_has_ended(
    session: Connection, table: str, hold: Hold
) -> None:
    hold(True)
    job = submit(session, f"CREATE UNIQUE INDEX ASYNC {table}_a ON {table} (a)")
    assert not is_valid(session, f"{table}_a")
    add = f"ALTER TABLE {table} ADD CONSTRAINT u UNIQUE USING INDEX {table}_a"
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="is not valid"):
        session.execute(add)
    cursor = session.cursor(row_factory=dict_row)
    found = cursor.execute("SELECT * FROM sys.jobs WHERE job_id = %s", [job]).fetchone()
    assert found is not None
    assert list(found) == [
        "job_id", "status", "details", "job_type", "class_id", "object_id",
        "object_name", "start_time", "update_time",
    ]  # fmt: skip
    assert (found["status"], found["job_type"], found["class_id"]) == (
        "submitted", "INDEX_BUILD", 1259,
    )  # fmt: skip
    assert found["object_name"] == f"public.{table}_a"
    hold(False)
    assert finish(session, job)
    assert is_valid(session, f"{table}_a")
    query = "SELECT status, details, object_name FROM sys.jobs WHERE job_id = %s"
    assert one(session, query, job) == ("completed", None, None)
    session.execute(add)
    with pytest.raises(errors.UniqueViolation):
        session.execute(f"INSERT INTO {table} VALUES (3, 1)")


def test_a_unique_index_over_duplicates_fails_and_stays_invalid(
    session: Connection, table: str
) -> None:
    session.execute(f"UPDATE {table} SET a = 1")
    job = submit(session, f"CREATE UNIQUE INDEX ASYNC {table}_a ON {table} (a)")
    assert not finish(session, job)
    status, details = one(
        session, "SELECT status, details FROM sys.jobs WHERE job_id = %s", job
    )
    assert status == "failed"
    assert details == "found duplicate key(s) while validating index uniqueness"
    query = "SELECT object_name FROM sys.jobs WHERE job_id = %s"
    assert one(session, query, job) == (f"public.{table}_a",)
    assert not is_valid(session, f"{table}_a")
    session.execute(f"DROP INDEX {table}_a")


def test_a_unique_index_is_not_enforced_while_it_is_built(
    session: Connection, table: str, hold: Hold
) -> None:
    hold(True)
    job = submit(session, f"CREATE UNIQUE INDEX ASYNC {table}_a ON {table} (a)")
    session.execute(f"INSERT INTO {table} VALUES (3, 1)")
    session.execute(f"UPDATE {table} SET a = 1")
    hold(False)
    assert not finish(session, job)
    session.execute(f"INSERT INTO {table} VALUES (4, 1)")
    session.execute(f"DROP INDEX {table}_a")


@pytest.mark.parametrize(
    "index",
    [
        "(a) NULLS NOT DISTINCT",
        "(lower(b)) INCLUDE (a) WHERE (a > 0)",
        "(a NULLS FIRST, b)",
    ],
)
def test_a_job_builds_what_was_asked_for(
    session: Connection, table: str, index: str
) -> None:
    sql = f"CREATE UNIQUE INDEX ASYNC IF NOT EXISTS {table}_i ON {table} {index}"
    assert finish(session, submit(session, sql))
    query = (
        "SELECT pg_get_indexdef(%s::regclass), indisunique, indisvalid FROM pg_index"
    )
    definition, *flags = one(
        session, f"{query} WHERE indexrelid = %s::regclass", f"{table}_i", f"{table}_i"
    )
    assert definition.startswith("CREATE UNIQUE INDEX")
    assert definition.endswith(index)
    assert flags == [True, True]
    again = submit(session, sql)
    assert finish(session, again)
    assert is_valid(session, f"{table}_i")


def test_a_rolled_back_statement_leaves_no_job(session: Connection, table: str) -> None:
    session.execute("BEGIN")
    job = submit(session, f"CREATE INDEX ASYNC {table}_a ON {table} (a)")
    session.execute("ROLLBACK")
    assert one(session, "SELECT count(*) FROM sys.jobs WHERE job_id = %s", job) == (0,)
    with pytest.raises(errors.UndefinedColumn):
        session.execute(f"CREATE INDEX ASYNC ON {table} (nothing)")


def test_validation_runs_in_the_background(session: Connection, table: str) -> None:
    for check, holds in (("a > 0", True), ("a > 1", False)):
        session.execute(
            f"ALTER TABLE {table} ADD CONSTRAINT c CHECK ({check}) NOT VALID"
        )
        job = submit(session, f"ALTER TABLE ASYNC {table} VALIDATE CONSTRAINT c")
        assert finish(session, job) is holds
        query = "SELECT convalidated FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c'"
        assert one(session, query, table) == (holds,)
        session.execute(f"ALTER TABLE {table} DROP CONSTRAINT c")
    assert one(
        session, "SELECT status, details FROM sys.jobs WHERE job_id = %s", job
    ) == (
        "failed",
        f'check constraint "c" of relation "{table}" is violated by some row',
    )
    with pytest.raises(errors.UndefinedObject, match=r'constraint "no" of relation'):
        session.execute(f"ALTER TABLE ASYNC {table} VALIDATE CONSTRAINT no")
    with pytest.raises(errors.UndefinedTable):
        session.execute("ALTER TABLE ASYNC no_table VALIDATE CONSTRAINT no")


def test_an_index_of_a_dropped_table_completes_with_a_word(
    session: Connection, hold: Hold
) -> None:
    hold(True)
    session.execute("CREATE TABLE short_lived (a int)")
    job = submit(session, "CREATE INDEX ASYNC short_i ON short_lived (a)")
    session.execute("DROP TABLE short_lived")
    drops = "SELECT count(*) FROM sys.jobs WHERE job_type = 'DROP' AND object_name = %s"
    assert one(session, drops, "public.short_lived") == (1,)
    hold(False)
    assert finish(session, job)
    query = "SELECT status, details FROM sys.jobs WHERE job_id = %s"
    assert one(session, query, job) == (
        "completed", 'relation "public.short_i" does not exist',
    )  # fmt: skip


def test_an_open_transaction_does_not_hold_up_a_job(
    session: Connection, table: str, sandbox: lifecycle.Status, hold: Hold
) -> None:
    hold(True)
    job = submit(session, f"CREATE UNIQUE INDEX ASYNC {table}_a ON {table} (a)")
    with connect(sandbox) as reader, connect(sandbox) as writer:
        for connection in (reader, writer):
            connection.execute("BEGIN")
            connection.execute(f"SELECT * FROM {table}")
        writer.execute(f"UPDATE {table} SET b = 'z' WHERE id = 1")
        hold(False)
        assert finish(session, job)
        for connection, sql in ((reader, "SELECT 1"), (writer, "COMMIT")):
            with pytest.raises(errors.SerializationFailure, match="OC001"):
                connection.execute(sql)


def test_the_end_of_a_job_fails_every_session_once_but_its_own(
    session: Connection, table: str, sandbox: lifecycle.Status, hold: Hold
) -> None:
    hold(True)
    job = submit(session, f"CREATE INDEX ASYNC {table}_a ON {table} (a)")
    with connect(sandbox) as other:
        other.execute("SELECT 1")
        hold(False)
        assert finish(session, job)
        with pytest.raises(errors.SerializationFailure, match="OC001"):
            other.execute("SELECT 1")
        assert one(other, "SELECT 1") == (1,)
    assert one(session, "SELECT 1") == (1,)


def test_a_client_may_leave_while_it_waits(
    session: Connection, table: str, sandbox: lifecycle.Status, hold: Hold
) -> None:
    hold(True)
    job = submit(session, f"CREATE INDEX ASYNC {table}_a ON {table} (a)")
    waiting = connect(sandbox)
    waiting.pgconn.send_query(f"CALL sys.wait_for_job('{job}')".encode())
    waiting.pgconn.finish()
    patient = threading.Thread(target=finish, args=[session, job])
    patient.start()
    hold(False)
    patient.join(20)
    assert not patient.is_alive()


def test_jobs_outlive_a_stopped_sandbox(tmp_path: Path) -> None:
    try:
        with connect(lifecycle.up(tmp_path, job_delay=NEVER)) as first:
            first.execute("CREATE TABLE t (a int)")
            job = submit(first, "CREATE UNIQUE INDEX ASYNC i ON t (a)")
        lifecycle.down(tmp_path)
        status = lifecycle.up(tmp_path, job_delay=0)
        with connect(status) as second:
            assert finish(second, job)
        # A session of its own: the job's end may be a change of the catalog to the last.
        with connect(status) as third:
            assert is_valid(third, "i")
    finally:
        lifecycle.reset(tmp_path)


def limit(session: Connection, sql: str) -> str:
    with pytest.raises(psycopg.Error) as caught:
        session.execute(sql)
    return f"{caught.value.sqlstate} {caught.value.diag.message_primary}"


def test_limits_of_tables_and_indexes(
    session: Connection, table: str, hold: Hold
) -> None:
    hold(False)
    columns = [f"c{number} int" for number in range(9)]
    names = ", ".join(f"c{number}" for number in range(9))
    keys = "54011 more than 8 column keys in an index are not supported"
    for kind in ("PRIMARY KEY", "UNIQUE"):
        sql = f"CREATE TABLE wide ({', '.join(columns)}, {kind} ({names}))"
        assert limit(session, sql) == keys
    assert limit(session, f"CREATE INDEX ASYNC ON {table} ({names})") == keys
    for number in range(23):
        finish(session, submit(session, f"CREATE INDEX ASYNC i{number} ON {table} (a)"))
    assert limit(session, f"CREATE INDEX ASYNC ON {table} (a)") == (
        "54000 more than 24 indexes per table are not allowed"
    )
    many = ", ".join(f"ADD COLUMN x{number} int" for number in range(253))
    session.execute(f"ALTER TABLE {table} {many}")
    assert limit(session, f"ALTER TABLE {table} ADD COLUMN one_more int") == (
        "54011 tables can have at most 255 columns"
    )


def test_limit_of_schemas(session: Connection) -> None:
    query = (
        "SELECT count(*) FROM pg_namespace WHERE nspname !~ '^pg_' "
        "AND nspname NOT IN ('information_schema', 'sandbox', 'sys')"
    )
    (made,) = one(session, query)
    names = [f"limit_{number}" for number in range(10 - made)]
    try:
        for name in names:
            session.execute(f"CREATE SCHEMA {name}")
        assert limit(session, "CREATE SCHEMA limit_11") == (
            "54000 more than 10 schemas are not allowed"
        )
    finally:
        for name in names:
            session.execute(f"DROP SCHEMA {name}")


@pytest.mark.parametrize(
    ("rows", "size", "expected"),
    [
        (11, 1_000_000, "54000 transaction size limit 10mb exceeded"),
        (
            1,
            1_100_000,
            "54000 datatype limit greater than 1048576 bytes not supported for text",
        ),
        (1, 9_000, "54000 key size too large"),
    ],
)
def test_limits_of_sizes(
    session: Connection, table: str, rows: int, size: int, expected: str
) -> None:
    """Random text, which no compression makes small."""
    piece = "md5(random()::text || g || r)"
    text = f"(SELECT string_agg({piece}, '') FROM generate_series(1, {size // 32}) r)"
    column = "b" if size > 10_000 else "key"
    session.execute(f"ALTER TABLE {table} ADD COLUMN key text")
    finish(session, submit(session, f"CREATE INDEX ASYNC {table}_k ON {table} (key)"))
    insert = f"INSERT INTO {table} (id, {column}) SELECT g, {text} FROM generate_series(3, {rows + 2}) g"
    assert limit(session, insert) == expected
    assert one(session, f"SELECT count(*) FROM {table}") == (2,)
