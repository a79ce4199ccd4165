"""Locks, keys and references of rows that two transactions want."""

import pytest
from psycopg import errors

from tests.ops.local.sandbox.contending import Connection, commit_fails, rows

# A statement that waits for another transaction would wait for ever.
pytestmark = pytest.mark.usefixtures("watchdog")


@pytest.mark.parametrize("locker_first", [True, False])
@pytest.mark.parametrize("overlap", [True, False])
def test_for_update_conflicts_with_a_write(
    pair: tuple[Connection, Connection], family: str, locker_first: bool, overlap: bool
) -> None:
    steps = [
        (pair[0], f"SELECT v FROM {family} WHERE id = 1 FOR UPDATE"),
        (pair[1], f"UPDATE {family} SET v = 3 WHERE id = 1"),
    ]
    if not locker_first:
        steps.reverse()
    first, second = steps[0][0], steps[1][0]
    first.execute(steps[0][1])
    if overlap:
        second.execute(steps[1][1])
    first.execute("COMMIT")
    if not overlap:
        second.execute(steps[1][1])
    commit_fails(second)


def test_for_update_on_a_guard_row_prevents_write_skew(
    pair: tuple[Connection, Connection], family: str
) -> None:
    for connection in pair:
        connection.execute(f"SELECT v FROM {family} WHERE id = 3 FOR UPDATE")
    pair[0].execute(f"UPDATE {family} SET v = 1 WHERE id = 1")
    pair[0].execute("COMMIT")
    pair[1].execute(f"UPDATE {family} SET v = 1 WHERE id = 2")
    commit_fails(pair[1])


def test_write_skew_is_possible(
    pair: tuple[Connection, Connection], family: str
) -> None:
    for number, connection in enumerate(pair, 1):
        total = f"(SELECT sum(v) FROM {family})"
        connection.execute(f"UPDATE {family} SET v = 1 + {total} WHERE id = {number}")
    for connection in pair:
        connection.execute("COMMIT")
    assert rows(pair[0], f"SELECT sum(v) FROM {family}") == [(2,)]


@pytest.mark.parametrize("sharer_first", [True, False])
@pytest.mark.parametrize("overlap", [True, False])
def test_for_key_share_conflicts_with_a_delete_and_with_no_other_update(
    pair: tuple[Connection, Connection], family: str, sharer_first: bool, overlap: bool
) -> None:
    sharer, other = pair
    lock = f"SELECT v FROM {family} WHERE id = 2 FOR KEY SHARE"
    sharer.execute(lock)
    other.execute(f"UPDATE {family} SET v = 8 WHERE id = 2")
    other.execute("COMMIT")
    sharer.execute("COMMIT")
    for connection in pair:
        connection.execute("BEGIN")
        connection.execute(f"SELECT count(*) FROM {family}")
    steps = [(sharer, lock), (other, f"DELETE FROM {family} WHERE id = 2")]
    if not sharer_first:
        steps.reverse()
    steps[0][0].execute(steps[0][1])
    if overlap:
        steps[1][0].execute(steps[1][1])
    steps[0][0].execute("COMMIT")
    if not overlap:
        steps[1][0].execute(steps[1][1])
    commit_fails(steps[1][0])


@pytest.mark.parametrize("child", ["child", "late"])
@pytest.mark.parametrize("winner", ["insert", "delete"])
@pytest.mark.parametrize("first", ["insert", "delete"])
def test_deleting_a_parent_and_inserting_its_child_conflict(
    pair: tuple[Connection, Connection],
    family: str,
    child: str,
    winner: str,
    first: str,
) -> None:
    sql = {
        "insert": f"INSERT INTO {family}_{child} (id, parent) VALUES (5, 2)",
        "delete": f"DELETE FROM {family} WHERE id = 2",
    }
    second = "insert" if first == "delete" else "delete"
    by = {first: pair[0], second: pair[1]}
    for name in (first, second):
        assert by[name].execute(sql[name]).rowcount == 1
    by[winner].execute("COMMIT")
    commit_fails(by["insert" if winner == "delete" else "delete"])


@pytest.mark.parametrize("winner", [0, 1])
def test_a_cascade_conflicts_with_a_write_of_the_child(
    pair: tuple[Connection, Connection], family: str, winner: int
) -> None:
    pair[0].execute(f"DELETE FROM {family} WHERE id = 1")
    pair[1].execute(f"UPDATE {family}_child SET note = 'y' WHERE id = 1")
    pair[winner].execute("COMMIT")
    commit_fails(pair[1 - winner])


@pytest.mark.parametrize("overlap", [True, False])
def test_concurrent_inserts_of_one_key_conflict(
    pair: tuple[Connection, Connection], family: str, overlap: bool
) -> None:
    sql = f"INSERT INTO {family} VALUES (9) ON CONFLICT (id) DO NOTHING"
    pair[0].execute(f"INSERT INTO {family} VALUES (9)")
    if overlap:
        assert pair[1].execute(sql).rowcount == 1
    pair[0].execute("COMMIT")
    if not overlap:
        assert pair[1].execute(f"INSERT INTO {family} VALUES (9)").rowcount == 1
    commit_fails(pair[1])
    assert pair[1].execute(sql).rowcount == 0
    with pytest.raises(errors.UniqueViolation):
        pair[1].execute(f"INSERT INTO {family} VALUES (9)")
