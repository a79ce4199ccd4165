"""What a transaction keeps in shadow tables, and what its snapshot alone decides."""

from collections.abc import Callable
from typing import Any

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

ALIASES = [
    "b",
    "s",
    "t",
    "k",
    "o",
    "r",
    "part",
    "base",
    "shadow",
    "rel",
    "name",
    "keys",
]


# Names that a user may have


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("DELETE FROM {0} WHERE a = 9", [1, 1, 2]),
        ("INSERT INTO {0} (a) VALUES (7)", [1, 1, 2, 7]),
        ("DELETE FROM {0} WHERE a = 2", [1, 1]),
        ("UPDATE {0} SET a = 3, b = 9 WHERE b = 2", [1, 1, 3]),
    ],
)
def test_rows_without_a_key_survive_whatever_their_columns_are_called(
    tables: Tables,
    open_session: Callable[[], Connection],
    change: str,
    expected: list[int],
) -> None:
    keyed = tables.make("id int PRIMARY KEY", "v int")
    plain = tables.make("a int", *(f"{column} int DEFAULT 1" for column in ALIASES))
    mine, other = open_session(), open_session()
    mine.execute(f"INSERT INTO {keyed} VALUES (1, 1)")
    mine.execute(f"INSERT INTO {plain} (a, b) VALUES (1, 1), (1, 1), (2, 2)")
    mine.execute("BEGIN")
    move_to_shadow_tables(mine, other, keyed)
    mine.execute(change.format(plain))
    mine.execute("COMMIT")
    found = rows(other, f"SELECT a FROM {plain} ORDER BY a")
    assert found == [(value,) for value in expected]
    assert rows(other, f"SELECT * FROM {keyed}") == [(1, 5)]


def test_a_table_may_be_called_as_the_sandbox_once_called_its_own(
    tables: Tables, open_session: Callable[[], Connection]
) -> None:
    keyed = tables.make("id int PRIMARY KEY", "v int")
    owner = open_session()
    owner.execute("CREATE TABLE sandbox_shadow (id int PRIMARY KEY, fill text)")
    try:
        mine, other = open_session(), open_session()
        mine.execute(f"INSERT INTO {keyed} VALUES (1, 1)")
        mine.execute("INSERT INTO sandbox_shadow VALUES (1, 'kept')")
        mine.execute("BEGIN")
        move_to_shadow_tables(mine, other, keyed)
        mine.execute("INSERT INTO sandbox_shadow VALUES (2, 'new')")
        assert len(rows(mine, "SELECT * FROM sandbox_shadow")) == 2
        mine.execute("COMMIT")
        found = rows(other, "SELECT * FROM sandbox_shadow ORDER BY id")
        assert found == [(1, "kept"), (2, "new")]
    finally:
        open_session().execute("DROP TABLE sandbox_shadow")


@pytest.mark.parametrize("name", ["text", "name", "oid", "regclass", "jsonb", "record"])
def test_a_table_may_be_called_as_a_type_is(
    open_session: Callable[[], Connection], tables: Tables, name: str
) -> None:
    keyed = tables.make("id int PRIMARY KEY", "v int")
    owner = open_session()
    owner.execute(
        f"CREATE TABLE public.{name} (id int PRIMARY KEY, a varchar(9) UNIQUE)"
    )
    try:
        mine, other = open_session(), open_session()
        mine.execute(f"INSERT INTO {keyed} VALUES (1, 1)")
        mine.execute(f"INSERT INTO public.{name} VALUES (1, 'kept'), (2, 'gone')")
        mine.execute("BEGIN")
        mine.execute(f"SELECT FROM public.{name} WHERE id = 1 FOR UPDATE")
        move_to_shadow_tables(mine, other, keyed)
        mine.execute(f"INSERT INTO public.{name} VALUES (3, 'new')")
        mine.execute(f"DELETE FROM public.{name} WHERE id = 2")
        mine.execute(f"UPDATE {keyed} SET v = 8")
        mine.execute("COMMIT")
        found = rows(other, f"SELECT * FROM public.{name} ORDER BY id")
        assert found == [(1, "kept"), (3, "new")]
    finally:
        open_session().execute(f"DROP TABLE public.{name}")


def test_two_tables_of_one_name_conflict_at_once_and_lose_nothing(
    open_session: Callable[[], Connection], tables: Tables
) -> None:
    keyed = tables.make("id int PRIMARY KEY", "v int")
    schema = f"{tables.stem}_s"
    open_session().execute(f"CREATE SCHEMA {schema}")
    open_session().execute(f"CREATE TABLE {schema}.{keyed} (id int PRIMARY KEY, v int)")
    try:
        mine, other = open_session(), open_session()
        for table in (keyed, f"{schema}.{keyed}"):
            mine.execute(f"INSERT INTO {table} VALUES (1, 1)")
        mine.execute("BEGIN")
        mine.execute(f"UPDATE {schema}.{keyed} SET v = 2")
        move_to_shadow_tables(mine, other, keyed)
        with pytest.raises(errors.SerializationFailure, match=OC000):
            mine.execute("COMMIT")
        for table in (keyed, f"{schema}.{keyed}"):
            assert rows(other, f"SELECT * FROM {table}") == [(1, 1)]
    finally:
        open_session().execute(f"DROP TABLE {schema}.{keyed}")
        open_session().execute(f"DROP SCHEMA {schema}")


# Locks


def test_for_update_of_a_generated_key_conflicts(
    tables: Tables, open_session: Callable[[], Connection]
) -> None:
    name = tables.make("id bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY")
    first, second = open_session(), open_session()
    first.execute(f"INSERT INTO {name} DEFAULT VALUES")
    for connection in (first, second):
        connection.execute("BEGIN")
        assert rows(connection, f"SELECT id FROM {name} FOR UPDATE") == [(1,)]
    first.execute("COMMIT")
    commit_fails(second)


@pytest.mark.parametrize("locker_first", [True, False])
def test_for_update_of_a_row_that_breaks_an_unchecked_constraint_conflicts(
    tables: Tables, open_session: Callable[[], Connection], locker_first: bool
) -> None:
    name = tables.make("id int PRIMARY KEY", "v int", "w int")
    open_session().execute(f"INSERT INTO {name} VALUES (1, -1, 0), (2, 2, 0)")
    open_session().execute(
        f"ALTER TABLE {name} ADD CONSTRAINT positive CHECK (v > 0) NOT VALID"
    )
    locker, writer = open_session(), open_session()
    steps = [
        (locker, f"SELECT v FROM {name} WHERE id = 1 FOR UPDATE"),
        (writer, f"UPDATE {name} SET v = 3 WHERE id = 1"),
    ]
    steps = steps if locker_first else steps[::-1]
    for connection, sql in steps:
        connection.execute("BEGIN")
        connection.execute(sql)
    steps[0][0].execute("COMMIT")
    commit_fails(steps[1][0])


def test_a_table_with_an_unchecked_constraint_may_move_to_shadow_tables(
    tables: Tables, open_session: Callable[[], Connection]
) -> None:
    name = tables.make("id int PRIMARY KEY", "v int")
    open_session().execute(f"INSERT INTO {name} VALUES (1, 1), (2, -2)")
    open_session().execute(
        f"ALTER TABLE {name} ADD CONSTRAINT odd CHECK (v > 0 OR v::text = ' NOT VALID') "
        "NOT VALID"
    )
    mine, other = open_session(), open_session()
    mine.execute("BEGIN")
    move_to_shadow_tables(mine, other, name)
    with pytest.raises(errors.CheckViolation):
        mine.execute(f"INSERT INTO {name} VALUES (3, -3)")
    mine.execute("ROLLBACK")
    mine.execute("BEGIN")
    move_to_shadow_tables(mine, other, name)
    mine.execute(f"DELETE FROM {name} WHERE id = 2")
    mine.execute("COMMIT")
    assert rows(other, f"SELECT * FROM {name}") == [(1, 5)]


@pytest.mark.parametrize("sql", [
    "UPDATE {0} SET w = 1 WHERE id = 1", "DELETE FROM {0} WHERE id = 1",
])  # fmt: skip
def test_a_lock_is_remembered_after_its_transaction_has_ended(
    tables: Tables, open_session: Callable[[], Connection], sql: str
) -> None:
    name = tables.make("id int PRIMARY KEY", "v text", "w int")
    locker, writer = open_session(), open_session()
    locker.execute(f"INSERT INTO {name} VALUES (1, 'a', 0), (2, 'b', 0)")
    for connection in (locker, writer):
        connection.execute("BEGIN")
        connection.execute(f"SELECT * FROM {name}")
    locker.execute(f"SELECT * FROM {name} WHERE id = 1 FOR UPDATE")
    locker.execute("COMMIT")
    writer.execute(sql.format(name))
    commit_fails(writer)
    writer.execute("BEGIN")
    writer.execute(sql.format(name))
    writer.execute("COMMIT")


def test_a_lock_on_a_row_that_is_too_new_to_be_seen_conflicts_with_nothing(
    tables: Tables, open_session: Callable[[], Connection]
) -> None:
    name = tables.make("id int PRIMARY KEY", "v int")
    old, locker = open_session(), open_session()
    old.execute(f"INSERT INTO {name} VALUES (1, 1)")
    old.execute("BEGIN")
    old.execute(f"UPDATE {name} SET v = 2")
    locker.execute(f"INSERT INTO {name} VALUES (2, 2)")
    locker.execute("BEGIN")
    locker.execute(f"SELECT * FROM {name} WHERE id = 2 FOR UPDATE")
    locker.execute("COMMIT")
    old.execute("COMMIT")


# Keys as the snapshot has them


@pytest.mark.parametrize(
    ("theirs", "mine", "left"),
    [
        ("DELETE FROM {0} WHERE id = 1", "INSERT INTO {0} VALUES (1, 9, 9)", None),
        ("UPDATE {0} SET u = 7 WHERE id = 1", "INSERT INTO {0} VALUES (5, 5, 1)", None),
        ("UPDATE {0} SET id = 3 WHERE id = 1", "UPDATE {0} SET id = 1 WHERE id = 2", None),
        (
            "DELETE FROM {0} WHERE id = 1",
            "INSERT INTO {0} VALUES (1, 9, 9) ON CONFLICT DO NOTHING",
            [(1, 1, 1), (2, 2, 2)],
        ),
    ],
)  # fmt: skip
def test_a_key_that_others_have_freed_is_still_taken_under_the_snapshot(
    tables: Tables,
    open_session: Callable[[], Connection],
    theirs: str,
    mine: str,
    left: list[Any] | None,
) -> None:
    name = tables.make("id int PRIMARY KEY", "v int", "u int UNIQUE")
    owner, other = open_session(), open_session()
    owner.execute(f"INSERT INTO {name} VALUES (1, 1, 1), (2, 2, 2)")
    owner.execute("BEGIN")
    owner.execute(f"SELECT * FROM {name}")
    other.execute(theirs.format(name))
    if left is None:
        with pytest.raises(errors.UniqueViolation):
            owner.execute(mine.format(name))
        owner.execute("ROLLBACK")
        owner.execute(mine.format(name))
        return
    assert owner.execute(mine.format(name)).rowcount == 0
    assert rows(owner, f"SELECT * FROM {name} ORDER BY id") == left
    owner.execute("COMMIT")


def test_a_freed_key_that_is_written_over_conflicts(
    tables: Tables, open_session: Callable[[], Connection]
) -> None:
    name = tables.make("id int PRIMARY KEY", "v int")
    mine, other = open_session(), open_session()
    mine.execute(f"INSERT INTO {name} VALUES (1, 1)")
    mine.execute("BEGIN")
    mine.execute(f"SELECT * FROM {name}")
    other.execute(f"DELETE FROM {name}")
    mine.execute(
        f"INSERT INTO {name} VALUES (1, 9) ON CONFLICT (id) DO UPDATE SET v = 9"
    )
    assert rows(mine, f"SELECT * FROM {name}") == [(1, 9)]
    commit_fails(mine)


def test_a_key_free_for_the_snapshot_and_for_all_is_no_conflict(
    tables: Tables, open_session: Callable[[], Connection]
) -> None:
    name = tables.make("id int PRIMARY KEY", "v int")
    mine, other = open_session(), open_session()
    mine.execute("BEGIN")
    mine.execute(f"SELECT * FROM {name}")
    other.execute(f"INSERT INTO {name} VALUES (8, 8)")
    other.execute(f"DELETE FROM {name}")
    mine.execute(f"INSERT INTO {name} VALUES (8, 1)")
    mine.execute("COMMIT")
    assert rows(other, f"SELECT * FROM {name}") == [(8, 1)]
