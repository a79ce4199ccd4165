"""Lost endpoints and lost connections, met by the backend and seen through the API."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import (
    DatabaseError,
    InternalError,
    OperationalError,
    close_old_connections,
    connection,
    transaction,
)
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from config.api.health import STATE, unapplied
from config.dsql.conflicts import (
    ConnectionLost,
    OutcomeUnknown,
    ServerUnavailable,
    is_conflict,
    is_outcome_unknown,
    is_unavailable,
)
from config.dsql.cursors import is_read
from config.dsql.endpoints import endpoints
from config.dsql.retry import (
    ConflictRetriesExhausted,
    Policy,
    repeat,
    run_transaction,
)
from config.dsql.split import split_transactions
from config.dsql.statements import Cursor
from ops.local.sandbox import lifecycle
from ops.local.sandbox.fault_control import FaultClient
from tests.database import default_connection
from tests.golden import replay
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)
PRIMARY, SECONDARY = "us-east-1", "us-east-2"


@pytest.fixture(autouse=True)
def own_connection(
    transactional_db: None, sandbox: lifecycle.Status, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A connection that knows the peer; the process forgets what the test taught it."""
    endpoints.cache_clear()
    peer = sandbox.regions[1].endpoint
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "peer_host", peer)
    connection.close()
    connection.ensure_connection()
    yield
    connection.close()


def new_user() -> User:
    return User(name="Ada", email=f"{uuid.uuid4()}@example.com")


def count() -> int:
    return User.objects.count()


def create(client: Client, key: str = "") -> Any:
    body = {"name": "Ada", "email": f"{uuid.uuid4()}@example.com"}
    headers = {"idempotency-key": key} if key else {}
    return client.post(
        "/users", json.dumps(body), content_type="application/json", headers=headers
    )


def test_the_peer_serves_while_the_local_endpoint_is_lost(
    client: Client, faults: FaultClient
) -> None:
    assert not create(client).has_header("X-Database-Region")
    faults.add("down", region=PRIMARY)
    answer = create(client)
    assert (answer.status_code, answer["X-Served-By-Region"]) == (201, PRIMARY)
    assert answer["X-Database-Region"] == SECONDARY
    assert client.get("/users").json()["count"] == 2
    assert faults.connections()[SECONDARY] == 1

    state = default_connection().endpoints
    state._probe_at = 0.0
    close_old_connections()  # between requests; the test client leaves it out
    assert client.get("/users")["X-Database-Region"] == SECONDARY
    faults.clear()
    state._probe_at = 0.0
    close_old_connections()
    back = client.get("/users")
    assert (back.status_code, back.has_header("X-Database-Region")) == (200, False)
    assert faults.connections()[SECONDARY] == 0


def test_a_transaction_starts_again_and_does_not_move(faults: FaultClient) -> None:
    regions: list[str | None] = []

    def work() -> None:
        new_user().save()
        regions.append(default_connection().peer_region)
        if len(regions) == 1:
            faults.add("down", region=PRIMARY)
        new_user().save()

    run_transaction(work)
    assert regions == [None, SECONDARY]
    assert count() == 2


@pytest.mark.parametrize("statement", [1, 2, 3])
def test_outside_the_runner_a_lost_transaction_is_an_error(
    faults: FaultClient, statement: int
) -> None:
    connection.close()
    faults.add("cut-before-statement", statement=statement, times=1)

    @transaction.atomic
    def work() -> None:  # BEGIN and two changes
        new_user().save()
        new_user().save()

    with pytest.raises(ConnectionLost):
        work()
    assert count() == 0


def test_the_first_statement_after_ddl_is_repeated_without_a_runner(
    sandbox: lifecycle.Status,
) -> None:
    with replay.connect(sandbox) as other:
        for work in (new_user().save, transaction.atomic(new_user().save)):
            count()  # the session knows the catalog
            other.execute("CREATE TABLE elsewhere (id int PRIMARY KEY)")
            work()
            other.execute("DROP TABLE elsewhere")
    assert count() == 2


def test_a_connection_closed_while_idle_is_replaced_unnoticed(
    faults: FaultClient,
) -> None:
    for work in (
        new_user().save,
        lambda: transaction.atomic(new_user().save)(),
        lambda: count(),
    ):
        before = connection.connection
        faults.add("cut")
        work()
        assert connection.connection is not before
    assert count() == 2


@pytest.mark.parametrize("kind", ["cut-before-statement", "cut-after-statement"])
def test_a_read_is_repeated_once_on_a_new_connection(
    faults: FaultClient, kind: str
) -> None:
    faults.add(kind, times=1)
    assert count() == 0
    faults.add(kind, times=2)
    with pytest.raises(ConnectionLost):
        count()
    assert count() == 0


@pytest.mark.parametrize("kind", ["cut-after-login", "cut-before-statement"])
def test_an_endpoint_that_cuts_each_new_connection_is_left(
    client: Client, faults: FaultClient, kind: str
) -> None:
    connection.close()
    faults.add(kind, region=PRIMARY)
    answer = client.get("/users")
    assert (answer.status_code, answer["X-Database-Region"]) == (200, SECONDARY)
    assert create(client).status_code == 201


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


def test_single_statements_survive_conflicts_without_a_runner(
    faults: FaultClient,
) -> None:
    faults.add("conflict", times=3)
    MigrationRecorder(connection).record_applied("somewhere", "0001_initial")
    assert faults.list()[0]["struck"] == 3
    MigrationRecorder(connection).record_unapplied("somewhere", "0001_initial")


def test_the_runner_and_the_cursor_do_not_multiply(faults: FaultClient) -> None:
    faults.add("conflict")
    delays: list[float] = []
    times = iter(range(100))
    policy = Policy(budget=4.5, random=lambda: 1.0, clock=lambda: float(next(times)))
    with pytest.raises(ConflictRetriesExhausted):
        repeat(new_user().save, policy=policy, sleep=delays.append)
    assert faults.list()[0]["struck"] == len(delays) + 1
    assert 1 < len(delays) < 5


def test_in_a_transaction_only_its_owner_repeats(faults: FaultClient) -> None:
    attempts = []

    def work() -> None:
        attempts.append(count())
        new_user().save()

    faults.add("conflict", times=2)
    run_transaction(work, sleep=lambda _: None)
    assert len(attempts) == 3
    assert count() == 1


def test_inside_an_open_block_a_later_statement_is_sent_once(
    faults: FaultClient,
) -> None:
    @transaction.atomic
    def work() -> None:
        count()
        faults.add("conflict")
        new_user().save()

    with pytest.raises(OperationalError) as caught:
        work()
    assert is_conflict(caught.value)
    assert not isinstance(caught.value, ConflictRetriesExhausted)
    assert faults.list()[0]["struck"] == 1


def test_a_silent_endpoint_is_left_after_its_connect_timeout(
    client: Client, faults: FaultClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "connect_timeout", 2)
    connection.close()
    faults.add("connect-delay", region=PRIMARY, seconds=60)
    assert create(client)["X-Database-Region"] == SECONDARY


@pytest.mark.parametrize("kind", ["waking-up", "too-many-connections", "unavailable"])
def test_a_busy_cluster_costs_waiting_only(
    client: Client, faults: FaultClient, kind: str
) -> None:
    connection.close()
    faults.add(kind, times=2)
    answer = create(client)
    assert answer.status_code == 201
    assert not answer.has_header("X-Database-Region")


def test_denied_credentials_are_503_at_once(
    client: Client, faults: FaultClient
) -> None:
    faults.add("revoked-credentials")
    faults.add("cut")
    answer = create(client)
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert faults.list()[0]["struck"] == 1


def test_migrate_survives_conflicts(faults: FaultClient) -> None:
    call_command("migrate", "users", "zero", verbosity=0)
    faults.add("conflict", times=2)  # the recorder's INSERT is the only change of rows
    call_command("migrate", verbosity=0)
    assert faults.list()[0]["struck"] == 2
    assert unapplied() == []
