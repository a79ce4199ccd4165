"""What is known of a statement that failed: repeated, not done, or of unknown outcome."""

import uuid
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import psycopg
import pytest
from django.db import (
    DatabaseError,
    InternalError,
    OperationalError,
    connection,
)
from django.test import Client

from config.api.health import STATE
from config.dsql.conflicts import (
    OutcomeUnknown,
    ServerUnavailable,
    is_conflict,
    is_outcome_unknown,
    is_unavailable,
)
from config.dsql.cursors import is_read
from config.dsql.retry import (
    Policy,
    run_transaction,
)
from config.dsql.split import split_transactions
from config.dsql.statements import Cursor
from ops.local.sandbox.fault_control import FaultClient
from tests.config.dsql.new_users import count, create, new_user

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("own_connection"),
]


@pytest.mark.parametrize(
    ("kind", "rows"), [("cut-before-statement", 0), ("cut-after-commit", 1)]
)
def test_a_write_of_unknown_outcome_is_never_repeated(
    client: Client, faults: FaultClient, kind: str, rows: int
) -> None:
    faults.add(kind, times=1)
    answer = create(client)
    assert (answer.status_code, answer.json()["code"]) == (503, "outcome_unknown")
    assert not answer.has_header("Retry-After")
    assert client.get("/users").json()["count"] == rows


@pytest.mark.parametrize(
    ("fault", "rows"),
    [({"kind": "cut-before-statement", "statement": 3}, 0), ({"kind": "cut-after-commit"}, 1)],
)  # fmt: skip
def test_a_commit_of_unknown_outcome_is_never_repeated(
    faults: FaultClient, fault: dict[str, Any], rows: int
) -> None:
    connection.close()
    faults.add(times=1, **fault)
    calls: list[str] = []

    def work() -> None:
        new_user().save()
        calls.append("saved")

    with pytest.raises(OutcomeUnknown):
        run_transaction(work)
    assert len(calls) == 1
    assert count() == rows


def test_an_unavailable_server_is_asked_again_where_nothing_can_have_happened(
    client: Client, faults: FaultClient
) -> None:
    faults.add("unavailable-at-statement", times=3)
    answer = client.get("/users")
    assert (answer.status_code, faults.list()[0]["struck"]) == (200, 3)
    assert not answer.has_header("X-Database-Region")
    before = connection.connection
    faults.clear()
    faults.add("unavailable-at-statement", times=2)
    calls: list[str] = []

    def work() -> None:
        new_user().save()
        calls.append("saved")
        new_user().save()
        calls.append("saved")

    run_transaction(work, sleep=lambda _: None)
    assert count() == 2
    assert connection.connection is before


@pytest.mark.parametrize("statement", [1, 2, 3])
def test_a_transaction_is_repeated_whichever_statement_was_refused(
    faults: FaultClient, statement: int
) -> None:
    connection.close()
    faults.add("unavailable-at-statement", statement=statement, times=1)

    def work() -> None:  # BEGIN and two changes
        new_user().save()
        new_user().save()

    run_transaction(work, sleep=lambda _: None)
    assert (count(), faults.list()[0]["struck"]) == (2, 1)


def test_a_server_that_stays_unavailable_is_503_and_nothing_was_done(
    client: Client, faults: FaultClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config.dsql.retry.DEFAULT_POLICY", Policy(budget=0.2))
    faults.add("unavailable-at-statement")
    answer = client.get("/users")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    with pytest.raises(ServerUnavailable):
        run_transaction(new_user().save)
    STATE.clear()
    health = client.get("/health")
    assert (health.status_code, health.json()["database"]) == (503, "unreachable")
    faults.clear()
    assert count() == 0


@pytest.mark.parametrize(
    ("kind", "rows"),
    [("unavailable-at-statement", 0), ("unavailable-at-commit", 0),
     ("unavailable-after-commit", 1)],
)  # fmt: skip
def test_an_unavailable_server_leaves_the_outcome_of_a_single_write_unknown(
    client: Client, faults: FaultClient, kind: str, rows: int
) -> None:
    """Nothing tells a refused statement from its COMMIT."""
    faults.add(kind, times=1)
    answer = create(client)
    assert (answer.status_code, answer.json()["code"]) == (503, "outcome_unknown")
    assert client.get("/users").json()["count"] == rows


@pytest.mark.parametrize(
    "kind",
    ["unavailable-at-statement", "unavailable-at-commit", "unavailable-after-commit"],
)
def test_with_an_idempotency_key_an_unavailable_server_is_not_noticed(
    client: Client, faults: FaultClient, kind: str
) -> None:
    faults.add(kind, times=1)
    assert create(client, key=str(uuid.uuid4())).status_code == 201
    assert client.get("/users").json()["count"] == 1


@pytest.mark.parametrize(
    ("kind", "rows"), [("unavailable-at-commit", 0), ("unavailable-after-commit", 1)]
)
@pytest.mark.parametrize("split", [False, True], ids=["whole", "split"])
def test_an_unavailable_server_leaves_the_outcome_of_a_commit_unknown(
    faults: FaultClient, kind: str, rows: int, split: bool
) -> None:
    faults.add(kind, times=1)
    calls: list[int] = []

    def work() -> None:
        calls.append(1)
        new_user().save()

    with (
        pytest.raises(OutcomeUnknown),
        split_transactions(rows=1) if split else nullcontext(),
    ):
        run_transaction(work)
    assert len(calls) == 1
    assert count() == rows


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The next statement that changes rows ends with this SQLSTATE, the session goes on."""
    execute, states = Cursor.execute, list[str]()

    def fail(cursor: Cursor, query: Any, *rest: Any, **options: Any) -> Any:
        if states and query.startswith(("INSERT", "UPDATE", "DELETE")):
            raise psycopg.errors.lookup(states.pop())("the server cannot tell")
        return execute(cursor, query, *rest, **options)

    monkeypatch.setattr(Cursor, "execute", fail)
    return states.append


@pytest.mark.parametrize("state", ["08000", "08003", "08006", "08007", "40003"])
def test_a_server_that_cannot_tell_leaves_the_outcome_of_a_write_unknown(
    client: Client, refusing: Callable[[str], None], state: str
) -> None:
    path = create(client)["Location"]
    patch = partial(client.patch, path, {"name": "Eve"}, "application/json")
    for write in (partial(create, client), patch, partial(client.delete, path)):
        refusing(state)
        answer = write()
        assert (answer.status_code, answer.json()["code"]) == (503, "outcome_unknown")
    refusing(state)
    assert create(client, key=str(uuid.uuid4())).status_code == 201


@pytest.mark.parametrize("state", ["53200", "57014", "58030"])
def test_a_write_that_the_server_gave_up_was_not_done(
    client: Client, refusing: Callable[[str], None], state: str
) -> None:
    refusing(state)
    answer = create(client)
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")


@pytest.mark.parametrize("state", ["08006", "08007", "40003", "XX000"])
def test_commit_leaves_a_doubt_where_the_server_cannot_tell(state: str) -> None:
    error = OperationalError("wrapped")
    error.__cause__ = psycopg.errors.lookup(state)("the server cannot tell")
    assert is_outcome_unknown(error)


def test_statements_that_begin_with_a_select_are_no_read(faults: FaultClient) -> None:
    count()
    faults.add("cut-after-statement", times=1)
    insert = "INSERT INTO users_user VALUES (gen_random_uuid(), 'A', 'a', now(), now())"
    with connection.cursor() as cursor, pytest.raises(OutcomeUnknown):
        cursor.execute(f"SELECT 1; {insert}")


@pytest.mark.parametrize(
    ("sql", "read"),
    [("SELECT 1", True), ("(SELECT 1) UNION SELECT 2;\n", True), ("show x ; ", True),
     ("SELECT 1; SELECT 2", False), ("SELECT 1;DELETE FROM t;", False),
     ("SELECT ';'", False), ("SELECTED", False), (b"SELECT 1", False)],
)  # fmt: skip
def test_only_a_single_select_is_known_to_change_nothing(sql: Any, read: bool) -> None:
    assert is_read(sql) is read


def test_other_internal_errors_are_not_taken_for_an_unavailable_server() -> None:
    class Bug(Exception):
        sqlstate = "XX000"

    assert not is_unavailable(InternalError("cache lookup failed"))
    bug = InternalError("cache lookup failed for type 7")
    bug.__cause__ = Bug("cache lookup failed for type 7")
    assert not is_unavailable(bug)
    assert is_outcome_unknown(bug)


def test_an_error_is_judged_by_its_own_cause_and_not_by_an_earlier_one() -> None:
    class Conflict(Exception):
        sqlstate = "40001"

    first, second = OperationalError("first"), DatabaseError("second")
    first.__cause__ = Conflict()
    second.__context__ = first
    assert is_conflict(first)
    assert not is_conflict(second)
