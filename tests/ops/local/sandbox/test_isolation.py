"""Two transactions on one row: nobody waits, the first to commit wins."""

import threading
import time
from uuid import uuid4

import pytest
from psycopg import errors
from psycopg.rows import scalar_row

from ops.local.sandbox import lifecycle
from ops.local.sandbox.postgres import Postgres
from tests.ops.local.sandbox.contending import Connection, Open, commit_fails, rows

OC001 = r"schema has been updated by another transaction \(OC001\)"
# A statement that waits for another transaction would wait for ever.
pytestmark = pytest.mark.usefixtures("watchdog")


@pytest.mark.parametrize("winner", [0, 1])
def test_both_write_and_the_first_commit_wins(
    pair: tuple[Connection, Connection], family: str, winner: int
) -> None:
    for number, connection in enumerate(pair):
        sql = f"UPDATE {family} SET v = {number + 5} WHERE id = 1 RETURNING v, note"
        assert rows(connection, sql) == [(number + 5, "a")]
        assert rows(connection, f"SELECT v FROM {family} WHERE id = 1") == [
            (number + 5,)
        ]
    pair[winner].execute("COMMIT")
    commit_fails(pair[1 - winner])
    again = pair[1 - winner]
    assert rows(again, f"SELECT v FROM {family} WHERE id = 1") == [(winner + 5,)]
    again.execute(f"UPDATE {family} SET v = 9 WHERE id = 1")
    assert rows(pair[winner], f"SELECT v FROM {family} WHERE id = 1") == [(9,)]


def test_a_loser_goes_on_under_its_snapshot_until_commit(
    pair: tuple[Connection, Connection], family: str
) -> None:
    winner, loser = pair
    loser.execute(f"UPDATE {family} SET note = 'mine' WHERE id = 3")
    created = rows(loser, f"INSERT INTO {family}_late (parent) VALUES (3) RETURNING *")
    winner.execute(f"UPDATE {family} SET v = v + 1 WHERE id = 1")
    winner.execute(f"DELETE FROM {family} WHERE id = 2")
    winner.execute("COMMIT")
    assert rows(loser, f"UPDATE {family} SET v = v + 10 RETURNING id, v") == [
        (1, 10),
        (2, 10),
        (3, 10),
    ]
    assert rows(loser, f"SELECT * FROM public.{family}_late") == created
    with pytest.raises(errors.UniqueViolation, match=f"{family}_pkey"):
        loser.execute(f"INSERT INTO {family} VALUES (2)")
    loser.execute("ROLLBACK")
    loser.execute("BEGIN")
    assert rows(loser, f"SELECT id, v, note FROM {family} ORDER BY id") == [
        (1, 1, "a"),
        (3, 0, "c"),
    ]
    loser.execute("COMMIT")


def test_values_that_were_seen_are_the_ones_committed(
    pair: tuple[Connection, Connection], family: str
) -> None:
    """A transaction in shadow tables that met no conflict loses nothing."""
    other, mine = pair
    first = rows(mine, f"INSERT INTO {family}_late (parent) VALUES (3) RETURNING *")
    mine.execute(f"UPDATE {family} SET note = 'kept' WHERE id = 3")
    other.execute(f"UPDATE {family} SET v = 1 WHERE id = 1")
    mine.execute(f"UPDATE {family} SET v = 2 WHERE id = 1")
    second = rows(mine, f"INSERT INTO {family}_late (parent) VALUES (1) RETURNING *")
    mine.execute(f"DELETE FROM {family}_child WHERE id = 1")
    other.execute("ROLLBACK")
    mine.execute("COMMIT")
    assert rows(other, f"SELECT * FROM {family}_late ORDER BY id") == first + second
    assert rows(other, f"SELECT * FROM {family} ORDER BY id") == [
        (1, 2, "a"),
        (2, 0, "b"),
        (3, 0, "kept"),
    ]
    assert rows(other, f"SELECT * FROM {family}_child") == []


def test_disjoint_rows_never_conflict(
    pair: tuple[Connection, Connection], family: str
) -> None:
    for number, connection in enumerate(pair, 1):
        connection.execute(f"UPDATE {family} SET v = 7 WHERE id = {number}")
    for connection in pair:
        connection.execute("COMMIT")
    assert rows(pair[0], f"SELECT id FROM {family} WHERE v = 7 ORDER BY id") == [
        (1,),
        (2,),
    ]


def test_an_own_violation_is_no_conflict(family: str, open_session: Open) -> None:
    connection = open_session()
    connection.execute("BEGIN")
    with pytest.raises(errors.ForeignKeyViolation):
        connection.execute(f"INSERT INTO {family}_child VALUES (7, 77)")
    connection.execute("ROLLBACK")
    connection.execute("BEGIN")
    connection.execute(f"INSERT INTO {family}_late (parent) VALUES (77)")
    with pytest.raises(errors.ForeignKeyViolation):
        connection.execute("COMMIT")
    with pytest.raises(errors.ForeignKeyViolation):
        connection.execute(f"INSERT INTO {family}_late (parent) VALUES (77)")


@pytest.mark.parametrize("name", ["{}_once", "ALL"])
def test_a_constraint_made_immediate_is_checked_at_once(
    family: str, open_session: Open, name: str
) -> None:
    connection = open_session()
    connection.execute(
        f"CREATE TABLE {family}_swap (id int PRIMARY KEY, v int, "
        f"CONSTRAINT {family}_once UNIQUE (v) DEFERRABLE INITIALLY DEFERRED)"
    )
    connection.execute(f"INSERT INTO {family}_swap VALUES (1, 1), (2, 2)")
    swap = (
        f"UPDATE {family}_swap SET v = 2 WHERE id = 1",
        f"UPDATE {family}_swap SET v = 1 WHERE id = 2",
    )
    with connection.transaction():
        for statement in swap:
            connection.execute(statement)
    connection.execute("BEGIN")
    connection.execute(f"SET CONSTRAINTS {name.format(family)} IMMEDIATE")
    with pytest.raises(errors.UniqueViolation):
        connection.execute(f"UPDATE {family}_swap SET v = 1 WHERE id = 1")
    connection.execute("ROLLBACK")
    assert rows(connection, f"SELECT v FROM {family}_swap ORDER BY id") == [(2,), (1,)]
    connection.execute(f"DROP TABLE {family}_swap")


def test_an_autocommit_statement_goes_before_an_open_transaction(
    pair: tuple[Connection, Connection], family: str, open_session: Open
) -> None:
    pair[0].execute(f"UPDATE {family} SET v = 5 WHERE id = 1")
    pair[1].execute(f"DELETE FROM {family} WHERE id = 2")
    single = open_session()
    assert single.execute(f"UPDATE {family} SET v = 6 WHERE id = 1").rowcount == 1
    single.execute(f"INSERT INTO {family}_late (parent) VALUES (2)")
    for connection in pair:
        commit_fails(connection)


def test_a_table_without_a_key_conflicts_too(open_session: Open) -> None:
    first, second = open_session(), open_session()
    name = f"t{uuid4().hex[:8]}"
    first.execute(f"CREATE TABLE {name} (v int, note jsonb)")
    try:
        first.execute(f"INSERT INTO {name} VALUES (1, '{{}}'), (1, '{{}}'), (2, null)")
        for connection in (first, second):
            connection.execute("BEGIN")
            connection.execute(f"UPDATE {name} SET v = v + 1 WHERE v = 2")
        second.execute(f"INSERT INTO {name} VALUES (8)")
        second.execute(f"DELETE FROM {name} WHERE v = 1")
        first.execute("ROLLBACK")
        second.execute("COMMIT")
        assert sorted(rows(first, f"SELECT v FROM {name}")) == [(3,), (8,)]
    finally:
        first.execute(f"DROP TABLE {name}")


@pytest.mark.parametrize("prepared", [True, False])
def test_concurrent_increments_lose_nothing(
    family: str, open_session: Open, prepared: bool
) -> None:
    def work(connection: Connection) -> None:
        for _ in range(25):
            while not increment(connection):
                pass

    def increment(connection: Connection) -> bool:
        try:
            with connection.transaction():
                cursor = connection.cursor(row_factory=scalar_row)
                query = f"SELECT v FROM {family} WHERE id = %s"
                value = cursor.execute(query, [1], prepare=prepared).fetchone() or 0
                change = f"UPDATE {family} SET v = %s WHERE id = %s"
                connection.execute(change, [value + 1, 1], prepare=prepared)
        except errors.SerializationFailure:
            return False
        return True

    threads = [threading.Thread(target=work, args=[open_session()]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check = open_session()
    assert rows(check, f"SELECT v FROM {family} WHERE id = 1") == [(100,)]


def test_a_statement_prepared_before_may_be_run_after(
    pair: tuple[Connection, Connection], family: str
) -> None:
    """Parse and Bind in batches of their own, as other drivers than psycopg send them."""
    update = f"UPDATE {family} SET v = v + $1 WHERE id = 1 RETURNING v".encode()
    for name in (b"", b"named"):
        for connection in pair:
            connection.execute("ROLLBACK")
            connection.execute("BEGIN")
            connection.pgconn.prepare(name, update)
        for connection in pair:
            done = connection.pgconn.exec_prepared(name, [b"1"])
            assert (done.error_message, done.ntuples) == (b"", 1)
            assert connection.pgconn.describe_prepared(name).nfields == 1
            again = connection.pgconn.exec_prepared(b"named", [b"1"]) if name else done
            assert again.command_status == b"UPDATE 1"
        pair[0].execute("COMMIT")
        commit_fails(pair[1])
        pair[1].pgconn.prepare(b"", update)
        assert pair[1].pgconn.exec_prepared(b"", [b"1"]).command_status == b"UPDATE 1"


def test_a_pipeline_runs_transactions_and_single_statements(
    pair: tuple[Connection, Connection], family: str
) -> None:
    pair[0].execute(f"UPDATE {family} SET v = 1 WHERE id = 1")
    pair[1].execute("ROLLBACK")
    with pair[1].pipeline():
        pair[1].execute(f"INSERT INTO {family} VALUES (11)")
        pair[1].execute("BEGIN")
        pair[1].execute(f"UPDATE {family} SET v = 2 WHERE id = 1")
        seen = pair[1].execute(f"SELECT v FROM {family} WHERE id = 1")
        pair[1].execute("COMMIT")
        pair[1].execute(f"INSERT INTO {family} VALUES (12)")
    assert seen.fetchall() == [(2,)]
    query = f"SELECT id, v FROM {family} WHERE v = 2 OR id > 10 ORDER BY id"
    assert rows(pair[1], query) == [(1, 2), (11, None), (12, None)]
    commit_fails(pair[0])


def test_after_a_catalog_change_every_other_session_fails_once(
    pair: tuple[Connection, Connection], family: str, open_session: Open
) -> None:
    single, owner = open_session(), open_session()
    single.execute("SELECT 1")
    pair[0].execute(f"UPDATE {family} SET v = 5 WHERE id = 1")
    owner.execute(f"ALTER TABLE {family} ADD COLUMN extra int")
    for connection in (*pair, single):
        with pytest.raises(errors.SerializationFailure, match=OC001):
            connection.execute("SELECT 1")
    for connection in pair:
        connection.execute("ROLLBACK")
        connection.execute("SELECT 1")
    assert rows(single, f"SELECT extra, v FROM {family} WHERE id = 1") == [(None, 0)]
    owner.execute("SELECT 1")
    open_session().execute(f"SELECT * FROM {family}")


def test_a_grant_fails_a_commit(
    pair: tuple[Connection, Connection], family: str, open_session: Open
) -> None:
    pair[0].execute(f"UPDATE {family} SET v = 5 WHERE id = 1")
    open_session().execute(f"GRANT SELECT ON {family} TO PUBLIC")
    with pytest.raises(errors.SerializationFailure, match=OC001):
        pair[0].execute("COMMIT")
    assert rows(pair[0], f"SELECT v FROM {family} WHERE id = 1") == [(0,)]


def test_a_client_that_vanishes_leaves_nothing_behind(
    pair: tuple[Connection, Connection],
    family: str,
    sandbox: lifecycle.Status,
    open_session: Open,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PGHOSTADDR")
    monkeypatch.delenv("PGPORT")
    pair[0].execute(f"UPDATE {family} SET v = 5 WHERE id = 1")
    pair[1].execute(f"UPDATE {family} SET v = 6 WHERE id = 1")
    for connection in pair:
        connection.pgconn.finish()
    left = (
        "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
    )
    with Postgres(sandbox.root).connect() as inside:
        while inside.execute(left).fetchone() != (0,):
            time.sleep(0.01)
        locks = "SELECT count(*) FROM pg_locks WHERE relation = %s::regclass"
        assert inside.execute(locks, [family]).fetchone() == (0,)
    open_session().execute(f"ALTER TABLE {family} ADD COLUMN extra int")
