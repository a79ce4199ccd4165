"""Rows that are written through a function, a view or a foreign key."""

from collections.abc import Callable, Iterator

import pytest
from psycopg import errors

from tests.ops.local.sandbox.contending import (
    OC000,
    Connection,
    Tables,
    commit_fails,
    move_to_shadow_tables,
    rows,
)


@pytest.mark.parametrize("prepare", [True, False])
def test_rows_that_a_function_writes_are_counted(
    open_session: Callable[[], Connection], writer: tuple[str, str], prepare: bool
) -> None:
    table, function = writer
    session = open_session()
    query = f"SELECT {function}(%s, %s)"
    with pytest.raises(errors.ProgramLimitExceeded, match=LIMIT):
        session.execute(query, [1, 3001], prepare=prepare)
    assert rows(session, f"SELECT count(*) FROM {table}") == [(0,)]
    session.execute(query, [1, 3000], prepare=prepare)
    with pytest.raises(errors.ProgramLimitExceeded, match=LIMIT):
        session.execute(f"INSERT INTO {table} SELECT 9000 + {function}(4001, 7000)")


def test_rows_that_a_function_wrote_survive_in_shadow_tables(
    tables: Tables, open_session: Callable[[], Connection], writer: tuple[str, str]
) -> None:
    table, function = writer
    keyed = tables.make("id int PRIMARY KEY", "v int")
    mine, other = open_session(), open_session()
    mine.execute(f"INSERT INTO {keyed} VALUES (1, 1)")
    mine.execute("BEGIN")
    mine.execute(f"SELECT {function}(1, 2)")
    move_to_shadow_tables(mine, other, keyed)
    mine.execute(f"UPDATE {keyed} SET v = 8")
    mine.execute("COMMIT")
    assert rows(other, f"SELECT id FROM {table} ORDER BY id") == [(1,), (2,)]
    assert rows(other, f"SELECT v FROM {keyed}") == [(8,)]
    mine.execute("BEGIN")
    move_to_shadow_tables(mine, other, keyed)
    # It would pass by the shadows.
    with pytest.raises(errors.SerializationFailure, match=OC000):
        mine.execute(f"SELECT {function}(3, 4)")
    mine.execute("ROLLBACK")


@pytest.fixture
def view(tables: Tables, open_session: Callable[[], Connection]) -> Iterator[str]:
    """A view of a view of a table with two rows, which is called as it but for a letter."""
    table = tables.make("id int PRIMARY KEY", "v int")
    open_session().execute(f"INSERT INTO {table} VALUES (1, 1), (2, 2)")
    open_session().execute(f"CREATE VIEW {table}i AS SELECT * FROM {table}")
    open_session().execute(f"CREATE VIEW {table}v AS SELECT * FROM {table}i")
    yield f"{table}v"
    for name in (f"{table}v", f"{table}i"):
        open_session().execute(f"DROP VIEW {name}")


def test_what_was_written_through_a_view_survive_in_shadow_tables(
    open_session: Callable[[], Connection], view: str
) -> None:
    mine, other, table = open_session(), open_session(), view[:-1]
    mine.execute("BEGIN")
    mine.execute(f"UPDATE {view} SET v = 7 WHERE id = 2")
    move_to_shadow_tables(mine, other, table)
    mine.execute(f"UPDATE {table} SET v = v + 1 WHERE id = 2")
    mine.execute("COMMIT")
    assert rows(other, f"SELECT * FROM {view} ORDER BY id") == [(1, 5), (2, 8)]


@pytest.mark.parametrize("sql", ["UPDATE {} SET v = 8", "SELECT * FROM {}"])
def test_in_shadow_tables_a_statement_through_a_view_conflicts_and_loses_nothing(
    open_session: Callable[[], Connection], view: str, sql: str
) -> None:
    mine, other, table = open_session(), open_session(), view[:-1]
    mine.execute("BEGIN")
    move_to_shadow_tables(mine, other, table)
    with pytest.raises(errors.SerializationFailure, match=OC000):
        mine.execute(sql.format(view))
    mine.execute("ROLLBACK")
    mine.execute(sql.format(view))
    assert len(rows(other, f"SELECT * FROM {view}")) == 2


def test_a_lock_through_a_view_conflicts(
    open_session: Callable[[], Connection], view: str
) -> None:
    locker, writer = open_session(), open_session()
    for connection in (locker, writer):
        connection.execute("BEGIN")
        connection.execute(f"SELECT * FROM {view}")
    locker.execute(f"SELECT * FROM {view} WHERE id = 1 FOR UPDATE")
    locker.execute("COMMIT")
    writer.execute(f"UPDATE {view[:-1]} SET v = 9 WHERE id = 1")
    commit_fails(writer)


def test_a_freed_key_is_taken_through_a_view_too(
    open_session: Callable[[], Connection], view: str
) -> None:
    mine, other = open_session(), open_session()
    mine.execute("BEGIN")
    mine.execute(f"SELECT * FROM {view}")
    other.execute(f"DELETE FROM {view} WHERE id = 1")
    with pytest.raises(errors.SerializationFailure, match=OC000):
        mine.execute(f"INSERT INTO {view} VALUES (1, 9)")


def test_a_function_conflicts_as_its_writes_do(
    open_session: Callable[[], Connection], writer: tuple[str, str]
) -> None:
    table, function = writer
    pair = open_session(), open_session()
    for connection in pair:
        connection.execute("BEGIN")
        connection.execute(f"SELECT count(*) FROM {table}")
    pair[0].execute(f"SELECT {function}(1, 1)")
    pair[0].execute("COMMIT")
    pair[1].execute(f"INSERT INTO {table} VALUES (1)")
    commit_fails(pair[1])
    assert rows(pair[0], f"SELECT * FROM {table}") == [(1,)]


# 3,000 rows, whoever writes them

LIMIT = "transaction row limit exceeded"


@pytest.mark.parametrize("action", ["CASCADE", "SET NULL"])
@pytest.mark.parametrize("children", [2999, 3000])
def test_rows_that_a_foreign_key_changes_are_counted(
    tables: Tables,
    open_session: Callable[[], Connection],
    action: str,
    children: int,
) -> None:
    parent = tables.make("id int PRIMARY KEY")
    child = tables.make(
        "id int PRIMARY KEY", f"p int REFERENCES {parent} ON DELETE {action}"
    )
    session = open_session()
    session.execute(f"INSERT INTO {parent} VALUES (1), (2)")
    session.execute(
        f"INSERT INTO {child} SELECT g, 1 FROM generate_series(1, {children}) g"
    )
    if children < 3000:
        session.execute(f"DELETE FROM {parent} WHERE id = 1")
    else:
        with pytest.raises(errors.ProgramLimitExceeded, match=LIMIT):
            session.execute(f"DELETE FROM {parent} WHERE id = 1")
        assert rows(session, f"SELECT count(*) FROM {parent}") == [(2,)]


@pytest.mark.parametrize(
    "sql",
    [
        "WITH d AS (INSERT INTO {0} SELECT generate_series(1, 3001) RETURNING 1) "
        "SELECT count(*) FROM d",
        "WITH d AS (INSERT INTO {0} SELECT generate_series(1, 3000) RETURNING 1) "
        "INSERT INTO {0} SELECT -1",
        "EXPLAIN ANALYZE INSERT INTO {0} SELECT generate_series(1, 3001)",
    ],
)
def test_rows_that_a_command_tag_does_not_count_are_counted(
    tables: Tables, open_session: Callable[[], Connection], sql: str
) -> None:
    name = tables.make("id int")
    session = open_session()
    with pytest.raises(errors.ProgramLimitExceeded, match=LIMIT):
        session.execute(sql.format(name))
    assert rows(session, f"SELECT count(*) FROM {name}") == [(0,)]
    session.execute(sql.replace("300", "200").format(name))
