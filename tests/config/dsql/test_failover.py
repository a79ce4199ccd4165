"""Lost endpoints and lost connections, met by the backend and seen through the API."""

import pytest
from django.core.management import call_command
from django.db import (
    OperationalError,
    close_old_connections,
    connection,
    transaction,
)
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from config.api.health import unapplied
from config.dsql.conflicts import (
    ConnectionLost,
    is_conflict,
)
from config.dsql.retry import (
    ConflictRetriesExhausted,
    Policy,
    repeat,
    run_transaction,
)
from ops.local.sandbox import lifecycle
from ops.local.sandbox.fault_control import FaultClient
from tests.config.dsql.new_users import count, create, new_user
from tests.database import default_connection
from tests.golden import replay

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("own_connection"),
]
PRIMARY, SECONDARY = "us-east-1", "us-east-2"


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
