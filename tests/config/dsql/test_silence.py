"""A server that says nothing, as the backend meets it and the API shows it."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.test import Client

from config.api.health import STATE
from config.dsql import deadlines
from config.dsql.base import DatabaseWrapper
from config.dsql.conflicts import ConnectionLost, OutcomeUnknown
from config.dsql.deadlines import (
    OutOfTime,
    within,
)
from config.dsql.endpoints import endpoints
from config.dsql.retry import Policy, repeat, run_transaction
from ops.local.sandbox import lifecycle
from ops.local.sandbox.fault_control import FaultClient
from tests.config.dsql.conftest import run
from tests.config.dsql.new_users import count, create, new_user
from tests.conftest import JOB_DELAY
from tests.database import default_connection

PRIMARY, SECONDARY = "us-east-1", "us-east-2"


@pytest.fixture
def impatient(
    transactional_db: None, sandbox: lifecycle.Status, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The default connection with its peer, and times that a test can wait for."""
    endpoints.cache_clear()
    options = connection.settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "peer_host", sandbox.regions[1].endpoint)
    monkeypatch.setitem(options, "statement_seconds", 0.6)
    monkeypatch.setitem(options, "login_seconds", 0.6)
    connection.close()
    connection.ensure_connection()
    yield
    connection.close()


pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.usefixtures("impatient")
def test_a_read_that_a_silent_endpoint_swallowed_is_repeated_at_the_peer(
    client: Client, faults: FaultClient
) -> None:
    faults.add("silent", region=PRIMARY)
    answer = client.get("/users")
    assert (answer.status_code, answer["X-Database-Region"]) == (200, SECONDARY)
    assert faults.list()[0]["struck"] == 1  # no new login was tried there
    assert create(client).status_code == 201


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("kind", "rows"), [("silent", 0), ("silent-after-commit", 1)])
def test_a_write_that_a_silent_endpoint_swallowed_has_an_unknown_outcome(
    client: Client, faults: FaultClient, kind: str, rows: int
) -> None:
    faults.add(kind, region=PRIMARY)
    answer = create(client)
    assert (answer.status_code, answer.json()["code"]) == (503, "outcome_unknown")
    assert client.get("/users").json()["count"] == rows


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["silent", "silent-after-commit"])
def test_with_an_idempotency_key_a_silent_endpoint_is_not_noticed(
    client: Client, faults: FaultClient, kind: str
) -> None:
    faults.add(kind, region=PRIMARY)
    assert create(client, key="once").status_code == 201
    assert client.get("/users").json()["count"] == 1


@pytest.mark.usefixtures("impatient")
def test_a_commit_that_a_silent_endpoint_swallowed_has_an_unknown_outcome(
    faults: FaultClient,
) -> None:
    def work() -> None:
        new_user().save()
        faults.add("silent", region=PRIMARY)

    with pytest.raises(OutcomeUnknown):
        run_transaction(work)
    assert count() == 0


@pytest.mark.usefixtures("impatient")
def test_a_transaction_that_a_silent_endpoint_swallowed_starts_again_at_the_peer(
    faults: FaultClient,
) -> None:
    regions: list[str | None] = []

    def work() -> None:
        new_user().save()
        regions.append(default_connection().peer_region)
        if len(regions) == 1:
            faults.add("silent", region=PRIMARY)
        new_user().save()

    run_transaction(work)
    assert regions == [None, SECONDARY]
    assert count() == 2


@pytest.mark.usefixtures("impatient")
def test_an_open_connection_to_an_endpoint_known_as_lost_is_not_waited_for(
    client: Client, faults: FaultClient
) -> None:
    own: Any = connection.connection
    waited: list[Any] = []
    own.on_silence = lambda: waited.append(own)
    faults.add("silent", region=PRIMARY)
    endpoints = default_connection().endpoints
    endpoints.leave(endpoints.local, "as another thread does")
    connection.close_if_unusable_or_obsolete()
    assert client.get("/users")["X-Database-Region"] == SECONDARY
    assert own.closed
    assert waited == []


@pytest.mark.usefixtures("impatient")
def test_silence_of_both_endpoints_is_503(client: Client, faults: FaultClient) -> None:
    faults.add("silent")
    answer = client.get("/users")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    faults.clear()
    assert client.get("/users").status_code == 200


def test_health_asks_the_peer_when_the_local_endpoint_is_silent(
    client: Client, faults: FaultClient, sandbox: lifecycle.Status, monkeypatch: Any
) -> None:
    """With the times that are served: health has its own."""
    endpoints.cache_clear()
    peer = sandbox.regions[1].endpoint
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "peer_host", peer)
    connection.close()
    client.get("/users")
    faults.add("silent", region=PRIMARY)
    STATE.clear()
    answer = client.get("/health")
    assert (answer.status_code, answer["X-Database-Region"]) == (200, SECONDARY)
    connection.close()


def test_a_request_whose_time_is_over_sends_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "time_left", lambda: 0.0)
    answer = create(client)
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    monkeypatch.undo()
    assert count() == 0


def refuse_to_sleep(seconds: float) -> None:
    pytest.fail(f"slept {seconds} s")


def test_a_request_that_is_nearly_over_repeats_no_conflict(faults: FaultClient) -> None:
    faults.add("conflict")
    patient = Policy(base_delay=9.0, budget=99.0, random=lambda: 1.0)
    with within(8), pytest.raises(OperationalError, match="after 1 attempts"):
        repeat(new_user().save, policy=patient, sleep=refuse_to_sleep)


def test_time_that_ends_before_commit_leaves_no_doubt() -> None:
    def work() -> None:
        new_user().save()
        under_way = deadlines._current.get()
        assert under_way is not None
        under_way.seconds = 0.0

    with within(25), pytest.raises(OutOfTime):
        transaction.atomic(work)()
    assert count() == 0


def test_migrations_and_the_schema_editor_wait(
    scratch: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(scratch.settings_dict["OPTIONS"], "statement_seconds", 0.2)
    scratch.close()
    slow = "SELECT pg_sleep(0.5)"
    with scratch.schema_editor():
        run(scratch, slow)
    scratch.migration_run.is_active = True
    run(scratch, slow)
    scratch.migration_run.is_active = False
    with scratch.without_deadline():
        run(scratch, slow)
    with pytest.raises(ConnectionLost, match="No response"):
        run(scratch, slow)


@pytest.fixture
def slow_jobs(sandbox: lifecycle.Status) -> Iterator[None]:
    """Jobs begin later than a statement may last."""
    lifecycle.up(sandbox.root, job_delay=0.6)
    yield
    lifecycle.up(sandbox.root, job_delay=JOB_DELAY)


@pytest.mark.usefixtures("slow_jobs")
def test_who_waits_for_a_job_waits_until_it_ends(
    scratch: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(scratch, "CREATE TABLE built (n int)")
    scratch.close()
    monkeypatch.setitem(scratch.settings_dict["OPTIONS"], "statement_seconds", 0.2)
    ((job,),) = run(scratch, "CREATE INDEX ASYNC later ON built (n)")
    run(scratch, f"CALL sys.wait_for_job('{job}')")
    query = f"SELECT status FROM sys.jobs WHERE job_id = '{job}'"
    assert run(scratch, query) == [("completed",)]


def test_a_schema_editor_that_cannot_begin_lifts_no_deadline(
    scratch: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(editor: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(BaseDatabaseSchemaEditor, "__enter__", fail)
    with pytest.raises(RuntimeError), scratch.schema_editor():
        pytest.fail("it began")
    assert scratch.limits.suspended == 0
    assert scratch.migration_run.journal is None


def test_without_a_limit_statements_are_waited_for(
    scratch: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(scratch.settings_dict["OPTIONS"], "statement_seconds", None)
    scratch.close()
    run(scratch, "SELECT 1")
    assert scratch.limits.for_statement() is None
