"""How long is waited: by a clock that tests move, and for a sandbox that goes silent."""

import math
import socket
import threading
from collections.abc import Generator, Iterator
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.test import Client, RequestFactory

from config.api.health import STATE
from config.dsql import deadlines, driver
from config.dsql.base import DatabaseWrapper
from config.dsql.conflicts import ConnectionLost, OutcomeUnknown
from config.dsql.deadlines import (
    Allowance,
    Limits,
    NoAnswer,
    OutOfTime,
    RequestDeadline,
    bounded,
    within,
)
from config.dsql.endpoints import endpoints
from config.dsql.retry import Policy, run_statement, run_transaction
from ops.sandbox import lifecycle
from ops.sandbox.faultline import Switch
from tests.config.dsql.conftest import run
from tests.config.dsql.test_failover import count, create, new_user
from tests.conftest import JOB_DELAY

PRIMARY, SECONDARY = "us-east-1", "us-east-2"
NOTHING, DATA = 0, 1  # what a wait tells: nobody, or something came


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(deadlines, "monotonic", lambda: now[0])
    monkeypatch.setattr(driver, "monotonic", lambda: now[0])
    return now


def wait(
    clock: list[float], allowance: Allowance, steps: list[tuple[float, int]], needs: int
) -> str:
    """Let so many seconds pass in each step, for an answer of so many pieces."""

    def answer() -> Generator[str, int, str]:
        pieces = 0
        while pieces < needs:
            pieces += yield "read"
        return "answer"

    waiting = bounded(answer(), allowance)
    next(waiting)
    for seconds, ready in steps:
        clock[0] += seconds
        try:
            waiting.send(ready)
        except StopIteration as end:
            return str(end.value)
    return "still waiting"


def test_an_answer_in_time_is_the_answer(clock: list[float]) -> None:
    steps = [(0.1, NOTHING)] * 79 + [(0.05, DATA)]
    assert wait(clock, Allowance(8), steps, 1) == "answer"


def test_silence_ends_when_the_allowance_is_spent(clock: list[float]) -> None:
    with pytest.raises(NoAnswer, match=r"in 8\.0 s"):
        wait(clock, Allowance(8), [(0.1, NOTHING)] * 82, 1)
    assert 1008 <= clock[0] < 1008.3


def test_an_answer_that_drips_ends_too(clock: list[float]) -> None:
    with pytest.raises(NoAnswer):
        wait(clock, Allowance(8), [(0.9, DATA)] * 20, 100)
    assert clock[0] < 1009


def test_outside_of_a_request_a_result_may_last_while_it_keeps_coming(
    clock: list[float],
) -> None:
    steps = [(0.9, DATA)] * 50
    assert wait(clock, Allowance(8, renewed=True), steps, 50) == "answer"
    with pytest.raises(NoAnswer):
        wait(
            clock, Allowance(8, renewed=True), [(0.9, DATA), *[(0.5, NOTHING)] * 17], 9
        )


def test_time_in_which_the_process_was_frozen_is_not_the_servers(
    clock: list[float],
) -> None:
    steps = [(0.1, NOTHING), (3600.0, NOTHING), (0.1, DATA), (0.1, DATA)]
    with within(25):
        assert wait(clock, Allowance(8), steps, 2) == "answer"
        assert deadlines.left() > 20


def test_what_came_while_the_process_was_frozen_is_read(clock: list[float]) -> None:
    steps = [(0.1, NOTHING)] * 5 + [(3600.0, DATA)]
    assert wait(clock, Allowance(1), steps, 1) == "answer"


def test_works_inside_works_end_with_the_first(clock: list[float]) -> None:
    assert deadlines.left() == math.inf
    with within(10):
        clock[0] += 4
        with within(20):
            assert deadlines.left() == 6
        with within(2):
            assert deadlines.left() == 2
        clock[0] += 7
        with pytest.raises(OutOfTime, match="was not sent"):
            deadlines.require_time()
    deadlines.require_time()


@pytest.mark.parametrize("streaming", [False, True])
def test_a_request_has_its_own_time_until_its_response_is_ready_or_closed(
    clock: list[float], streaming: bool
) -> None:
    limits = Limits(statement=8, first_answer=3, request=25)
    seen: list[float] = []

    def look() -> Iterator[bytes]:
        clock[0] += 20
        allowance = limits.for_statement()
        assert allowance is not None
        seen.extend((allowance.seconds, limits.for_connection().seconds))
        yield b""

    def view(request: HttpRequest) -> HttpResponseBase:
        return StreamingHttpResponse(look()) if streaming else HttpResponse(look())

    response = RequestDeadline(view)(RequestFactory().get("/"))
    if streaming:
        list(response)
        assert deadlines.left() == 5
        response.close()
    assert seen == [5, 3]
    assert deadlines.left() == math.inf


def test_a_request_that_fails_leaves_no_time_behind() -> None:
    def view(request: HttpRequest) -> HttpResponseBase:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        RequestDeadline(view)(RequestFactory().get("/"))
    assert deadlines._current.get() is None


def test_changes_of_the_schema_have_no_limit(clock: list[float]) -> None:
    limits = Limits(statement=8)
    limits.migrating = True
    assert limits.for_statement() is None
    limits.migrating, limits.suspended = False, 1
    assert limits.for_statement() is None


def test_a_lookup_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ended.wait(30))
    monkeypatch.delenv("PGHOSTADDR")
    allowance = Allowance(0.2)
    with pytest.raises(NoAnswer):
        driver.open_within(allowance, {"host": "db.example.com"}, pytest.fail)
    ended.set()


def test_every_address_of_a_name_gets_its_share(
    monkeypatch: pytest.MonkeyPatch, sandbox: lifecycle.Status
) -> None:
    """An address that nothing answers at does not cost the endpoint."""
    with silent_port() as port:
        answers = [(0, 0, 0, "", (ip, 0)) for ip in ("127.0.0.2", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
        monkeypatch.delenv("PGHOSTADDR")
        seen: list[dict[str, Any]] = []
        allowance = Allowance(1.0)

        def opener(params: dict[str, Any]) -> Any:
            seen.append(params)
            ports = f"{port},{sandbox.port}"
            return driver.connect(**{**params, "port": ports})

        with pytest.raises(psycopg.OperationalError, match="access denied"):
            driver.open_within(
                allowance,
                {"host": sandbox.regions[0].endpoint, "user": "admin", "password": "-",
                 "dbname": "postgres"},
                opener,
            )  # fmt: skip
    assert seen[0]["hostaddr"] == "127.0.0.2,127.0.0.1"
    assert 0.4 < allowance.spent < 1.0


class silent_port:  # noqa: N801 - used like a function
    """A listener that takes connections and says nothing."""

    def __enter__(self) -> int:
        self._listener = socket.create_server(("127.0.0.2", 0))
        return int(self._listener.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._listener.close()


@pytest.fixture
def impatient(
    transactional_db: None, sandbox: lifecycle.Status, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The default connection with its peer, and times that a test can wait for."""
    endpoints.cache_clear()
    options = connection.settings_dict["OPTIONS"]
    monkeypatch.setitem(options, "peer_host", sandbox.regions[1].endpoint)
    monkeypatch.setitem(options, "statement_seconds", 0.6)
    monkeypatch.setitem(options, "first_answer_seconds", 0.6)
    connection.close()
    connection.ensure_connection()
    yield
    connection.close()


pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.usefixtures("impatient")
def test_a_read_that_a_silent_endpoint_swallowed_is_repeated_at_the_peer(
    client: Client, faults: Switch
) -> None:
    faults.add("silent", region=PRIMARY)
    answer = client.get("/users")
    assert (answer.status_code, answer["X-Database-Region"]) == (200, SECONDARY)
    assert faults.list()[0]["struck"] == 1  # no new login was tried there
    assert create(client).status_code == 201


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("kind", "rows"), [("silent", 0), ("silent-after-commit", 1)])
def test_a_write_that_a_silent_endpoint_swallowed_has_an_unknown_outcome(
    client: Client, faults: Switch, kind: str, rows: int
) -> None:
    faults.add(kind, region=PRIMARY)
    answer = create(client)
    assert (answer.status_code, answer.json()["code"]) == (503, "outcome_unknown")
    assert client.get("/users").json()["count"] == rows


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["silent", "silent-after-commit"])
def test_with_an_idempotency_key_a_silent_endpoint_is_not_noticed(
    client: Client, faults: Switch, kind: str
) -> None:
    faults.add(kind, region=PRIMARY)
    assert create(client, key="once").status_code == 201
    assert client.get("/users").json()["count"] == 1


@pytest.mark.usefixtures("impatient")
def test_a_commit_that_a_silent_endpoint_swallowed_has_an_unknown_outcome(
    faults: Switch,
) -> None:
    def work() -> None:
        new_user().save()
        faults.add("silent", region=PRIMARY)

    with pytest.raises(OutcomeUnknown):
        run_transaction(work)
    assert count() == 0


@pytest.mark.usefixtures("impatient")
def test_a_transaction_that_a_silent_endpoint_swallowed_starts_again_at_the_peer(
    faults: Switch,
) -> None:
    regions: list[str | None] = []

    def work() -> None:
        new_user().save()
        regions.append(connection.peer_region)
        if len(regions) == 1:
            faults.add("silent", region=PRIMARY)
        new_user().save()

    run_transaction(work)
    assert regions == [None, SECONDARY]
    assert count() == 2


@pytest.mark.usefixtures("impatient")
def test_an_open_connection_to_an_endpoint_known_as_lost_is_not_waited_for(
    client: Client, faults: Switch
) -> None:
    own, waited = connection.connection, []
    own.on_silence = lambda: waited.append(own)
    faults.add("silent", region=PRIMARY)
    connection.endpoints.leave(connection.endpoints.own, "as another thread does")
    connection.close_if_unusable_or_obsolete()
    assert client.get("/users")["X-Database-Region"] == SECONDARY
    assert own.closed
    assert waited == []


@pytest.mark.usefixtures("impatient")
def test_silence_of_both_endpoints_is_503(client: Client, faults: Switch) -> None:
    faults.add("silent")
    answer = client.get("/users")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    faults.clear()
    assert client.get("/users").status_code == 200


def test_health_asks_the_peer_when_the_own_endpoint_is_silent(
    client: Client, faults: Switch, sandbox: lifecycle.Status, monkeypatch: Any
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
    monkeypatch.setattr(deadlines, "left", lambda: 0.0)
    answer = create(client)
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    monkeypatch.undo()
    assert count() == 0


def test_a_request_that_is_nearly_over_repeats_no_conflict(faults: Switch) -> None:
    faults.add("conflict")
    patient = Policy(base_delay=9.0, budget=99.0, random=lambda: 1.0)
    with within(8), pytest.raises(OperationalError, match="after 1 attempts"):
        run_statement(new_user().save, policy=patient, sleep=pytest.fail)


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
    scratch.migrating = True
    run(scratch, slow)
    scratch.migrating = False
    with scratch.without_deadline():
        run(scratch, slow)
    with pytest.raises(ConnectionLost, match="No answer"):
        run_statement(lambda: run(scratch, slow), using="other")


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
    assert scratch.editor is None


def test_without_a_limit_statements_are_waited_for(
    scratch: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(scratch.settings_dict["OPTIONS"], "statement_seconds", None)
    scratch.close()
    run(scratch, "SELECT 1")
    assert scratch.limits.for_statement() is None


@pytest.mark.parametrize("error", [RuntimeError, OSError])
def test_a_lookups_own_error_is_raised(error: type[Exception]) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(error):
        driver.answer_within(Allowance(5), fail)
    assert driver.answer_within(Allowance(5), lambda: 7) == 7
    assert driver.answer_within(Allowance(math.inf), lambda: 7) == 7
