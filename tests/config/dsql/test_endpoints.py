"""Where new connections go, told by a clock that only sleeping moves."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured

from config.dsql.deadlines import NoResponse, within
from config.dsql.endpoints import ConnectFailure, Endpoints, classify_failure, switched
from config.dsql.retry import Policy
from config.dsql.tokens import Endpoint

OWN = Endpoint("own", "us-east-1", "admin")
PEER = Endpoint("peer", "us-east-2", "admin")
REFUSED = "connection failed: Connection refused"
WAKING = "FATAL:  unable to accept connection, waking up cluster, please retry later"
DENIED = "FATAL:  unable to accept connection, access denied"


@dataclass
class World:
    """What dialling each endpoint meets; an empty list means it answers."""

    now: float = 1000.0
    own: list[str] = field(default_factory=list)
    peer: list[str] = field(default_factory=list)
    dialled: list[str] = field(default_factory=list)
    silent: bool = False  # whether a login is answered and a statement is not

    def dial(self, endpoint: Endpoint) -> "World":
        self.dialled.append(endpoint.host)
        failures = self.own if endpoint == OWN else self.peer
        if failures:
            raise psycopg.OperationalError(failures.pop(0))
        return self

    def execute(self, sql: str) -> None:
        if self.silent:
            raise NoResponse(sql)

    def close(self) -> None:
        self.dialled.append("closed")

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def endpoints(self, peer: Endpoint | None = PEER) -> Endpoints:
        times: dict[str, Any] = {"random": lambda: 1.0, "clock": lambda: self.now}
        return Endpoints(
            OWN,
            peer,
            return_seconds=10,
            policies={
                ConnectFailure.BUSY: Policy(base_delay=0.5, budget=5.0, **times),
                ConnectFailure.UNREACHABLE: Policy(base_delay=0.5, budget=1.0, **times),
            },
            clock=lambda: self.now,
            sleep=self.sleep,
        )


@pytest.fixture
def switches() -> Iterator[list[str]]:
    seen: list[str] = []

    def note(sender: Any, endpoint: Endpoint, **_: Any) -> None:
        seen.append(endpoint.host)

    switched.connect(note)
    yield seen
    switched.disconnect(note)


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        (WAKING, ConnectFailure.BUSY),
        ("FATAL:  Unable to accept connection, too many open connections.", "busy"),
        ("FATAL:  Unable to accept connection, rate exceeded.", "busy"),
        ("FATAL:  server unavailable", "busy"),
        ("FATAL:  the database system is starting up", "busy"),
        ("FATAL:  terminating connection due to administrator command", "busy"),
        (DENIED, "refused"),
        ('FATAL:  database "x" does not exist', "refused"),
        ("SSL error: certificate verify failed", "refused"),
        (REFUSED, "unreachable"),
        ("connection timeout expired", "unreachable"),
        ("server closed the connection unexpectedly", "unreachable"),
        ("failed to resolve host 'own': Name or service not known", "unreachable"),
    ],
)
def test_the_text_of_a_failed_login_tells_the_failure(
    text: str, failure: ConnectFailure | str
) -> None:
    assert classify_failure(psycopg.OperationalError(text)) is ConnectFailure(failure)


def test_a_busy_cluster_is_asked_again_until_it_answers(switches: list[str]) -> None:
    world = World(own=[WAKING, WAKING])
    endpoint, _ = world.endpoints().connect(world.dial)
    assert endpoint == OWN
    assert world.dialled == ["own"] * 3
    assert world.now == 1000 + 0.5 + 1.0
    assert switches == []


def test_patience_with_a_busy_cluster_ends() -> None:
    world = World(own=[WAKING] * 100)
    with pytest.raises(psycopg.OperationalError, match="waking up"):
        world.endpoints(peer=None).connect(world.dial)
    assert 1004 <= world.now <= 1005


def test_after_two_busy_seconds_the_peer_is_asked() -> None:
    world = World(own=[WAKING] * 100)
    endpoints = world.endpoints()
    assert endpoints.connect(world.dial)[0] == PEER
    assert 1002 <= world.now <= 1003
    assert endpoints.failed_over


def test_busy_seconds_of_a_start_that_gave_up_count_for_the_next_request() -> None:
    world = World(own=[WAKING] * 100)
    endpoints = world.endpoints()
    with within(0.6), pytest.raises(psycopg.OperationalError, match="waking up"):
        endpoints.connect(world.dial)
    assert "peer" not in world.dialled
    world.now += 1.5
    begun = world.now
    assert endpoints.connect(world.dial)[0] == PEER
    assert world.now == begun


def test_busy_seconds_of_a_clock_that_was_set_back_are_none() -> None:
    world = World(own=[WAKING] * 100)
    endpoints = world.endpoints()
    with within(0.1), pytest.raises(psycopg.OperationalError, match="waking up"):
        endpoints.connect(world.dial)
    world.now -= 3600
    begun = world.now
    assert endpoints.connect(world.dial)[0] == PEER
    assert begun + 2 <= world.now <= begun + 3


@pytest.mark.parametrize("reached", [True, False])
def test_busy_seconds_are_forgotten_after_ten_and_when_it_was_reached(
    reached: bool,
) -> None:
    world = World(own=[WAKING])
    endpoints = world.endpoints()
    with within(0.1), pytest.raises(psycopg.OperationalError, match="waking up"):
        endpoints.connect(world.dial)
    if reached:
        assert endpoints.connect(world.dial)[0] == OWN
        world.now += 3.0
    else:
        world.now += 10.1
    world.own, begun = [WAKING] * 100, world.now
    assert endpoints.connect(world.dial)[0] == PEER
    assert world.now >= begun + 2.0


def test_a_lost_endpoint_gives_way_to_the_peer_without_waiting(
    switches: list[str],
) -> None:
    world = World(own=[REFUSED])
    endpoints = world.endpoints()
    assert endpoints.connect(world.dial)[0] == PEER
    assert endpoints.connect(world.dial)[0] == PEER
    assert world.dialled == ["own", "peer", "peer"]
    assert (world.now, switches) == (1000, ["peer"])


def is_failed_over(endpoints: Endpoints) -> bool:
    return endpoints.failed_over


def test_a_due_probe_inside_a_request_brings_connections_home(
    switches: list[str],
) -> None:
    world = World(own=[REFUSED, REFUSED])
    endpoints = world.endpoints()
    endpoints.connect(world.dial)
    endpoints.probe_if_due(world.dial)
    assert world.dialled == ["own", "peer"]
    world.now += 15  # the mean is 10, jitter adds at most half
    endpoints.probe_if_due(world.dial)
    endpoints.probe_if_due(world.dial)
    assert world.dialled == ["own", "peer", "own"]
    assert is_failed_over(endpoints)
    world.now += 15
    endpoints.probe_if_due(world.dial)
    assert not is_failed_over(endpoints)
    assert world.dialled[-2:] == ["own", "closed"]
    assert endpoints.connect(world.dial)[0] == OWN
    assert switches == ["peer", "own"]


def test_a_new_connection_looks_for_the_local_endpoint_when_that_is_due() -> None:
    world = World(own=[REFUSED])
    endpoints = world.endpoints()
    assert endpoints.connect(world.dial)[0] == PEER
    world.now += 15
    assert endpoints.connect(world.dial)[0] == OWN


def test_a_clock_that_was_set_back_keeps_nobody_away() -> None:
    world = World(own=[REFUSED])
    endpoints = world.endpoints()
    endpoints.connect(world.dial)
    world.now -= 3600
    endpoints.probe_if_due(world.dial)
    assert not endpoints.failed_over


def test_a_login_without_an_answered_statement_brings_nobody_home() -> None:
    world = World(own=[REFUSED], silent=True)
    endpoints = world.endpoints()
    endpoints.connect(world.dial)
    world.now += 15
    endpoints.probe_if_due(world.dial)
    assert endpoints.failed_over
    assert world.dialled[-2:] == ["own", "closed"]


def test_an_endpoint_that_goes_silent_is_left_and_soon_looked_at(
    switches: list[str],
) -> None:
    world = World()
    endpoints = world.endpoints()
    endpoints.leave(OWN, "silent")
    assert endpoints.connect(world.dial)[0] == PEER
    world.now += 3  # the mean is 2
    assert endpoints.connect(world.dial)[0] == OWN
    assert switches == ["peer", "own"]


def test_a_silent_peer_is_left_too_and_without_one_nothing_changes() -> None:
    world = World(own=[REFUSED])
    endpoints = world.endpoints()
    endpoints.connect(world.dial)
    endpoints.leave(PEER, "silent")
    assert endpoints.connect(world.dial)[0] == OWN
    alone = world.endpoints(peer=None)
    alone.leave(OWN, "silent")
    assert not alone.failed_over


def test_a_request_that_is_nearly_over_waits_for_no_endpoint() -> None:
    world = World(own=[WAKING] * 9)
    with within(0.4), pytest.raises(psycopg.OperationalError, match="waking up"):
        world.endpoints(peer=None).connect(world.dial)
    assert world.now == 1000


def test_a_listener_that_fails_stops_no_failover() -> None:
    def fail(sender: Any, **_: Any) -> None:
        raise RuntimeError

    switched.connect(fail)
    try:
        world = World(own=[REFUSED])
        assert world.endpoints().connect(world.dial)[0] == PEER
    finally:
        switched.disconnect(fail)


def test_the_local_endpoint_serves_when_the_peer_is_lost_too() -> None:
    world = World(own=[REFUSED], peer=[])
    endpoints = world.endpoints()
    endpoints.connect(world.dial)
    world.peer = [REFUSED]
    assert endpoints.connect(world.dial)[0] == OWN
    assert not endpoints.failed_over


def test_a_no_of_the_local_endpoint_is_no_reason_to_go_elsewhere() -> None:
    world = World(own=[DENIED])
    with pytest.raises(psycopg.OperationalError, match="access denied"):
        world.endpoints().connect(world.dial)
    assert world.dialled == ["own"]


def test_when_both_are_lost_both_reasons_are_told() -> None:
    world = World(own=[REFUSED] * 9, peer=[DENIED] * 9)
    with pytest.raises(psycopg.OperationalError, match="Connection refused") as caught:
        world.endpoints().connect(world.dial)
    assert caught.value.__notes__ == [f"peer: {DENIED}"]
    assert world.now <= 1001


def test_the_way_out_can_be_checked_while_all_is_well(switches: list[str]) -> None:
    world = World()
    endpoints = world.endpoints()
    with endpoints.avoid_local():
        assert endpoints.connect(world.dial)[0] == PEER
    assert endpoints.connect(world.dial)[0] == OWN
    assert switches == []
    endpoints.leave(OWN, "silent")
    with endpoints.avoid_local():
        assert endpoints.connect(world.dial)[0] == PEER
    assert endpoints.failed_over
    with (
        pytest.raises(ImproperlyConfigured, match="no peer endpoint"),
        world.endpoints(peer=None).avoid_local(),
    ):
        pytest.fail("there is no way out")
