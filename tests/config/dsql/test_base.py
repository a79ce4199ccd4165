import hashlib
import ssl
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import ProgrammingError, connections, transaction

from config.dsql.base import DatabaseWrapper
from config.dsql.options import AMAZON_ROOTS
from ops.local.sandbox import lifecycle
from tests.config.dsql.conftest import run
from tests.wire import relay

HOST = "abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws"


def wrapper(**settings: Any) -> DatabaseWrapper:
    default = connections.databases["default"]
    return DatabaseWrapper({**default, "OPTIONS": {}, "USER": "", **settings}, "other")


def test_an_empty_host_names_the_remedy() -> None:
    with pytest.raises(ImproperlyConfigured, match="set it to the cluster's endpoint"):
        wrapper(HOST="").get_connection_params()


def test_a_pool_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"'pool'.*CONN_MAX_AGE"):
        wrapper(HOST=HOST, OPTIONS={"pool": True}).get_connection_params()


def test_verifies_the_server_against_the_shipped_roots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    params = wrapper(HOST=HOST).get_connection_params()
    assert params["sslmode"] == "verify-full"
    assert params["sslrootcert"] == str(AMAZON_ROOTS)
    assert (params["user"], params["region"]) == ("admin", "us-east-1")


def test_a_variable_without_a_value_names_no_roots(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", "")
    params = wrapper(HOST=HOST).get_connection_params()
    assert params["sslrootcert"] == str(AMAZON_ROOTS)


def test_the_environment_may_name_other_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLROOTCERT", "ca.pem")
    assert "sslrootcert" not in wrapper(HOST=HOST).get_connection_params()


@pytest.mark.parametrize(
    ("host", "options", "message"),
    [
        ("db.example.com", {}, "names no Region"),
        (HOST, {"region": "us-east-2"}, "is in 'us-east-1'"),
        (HOST, {"peer_host": "db.example.com"}, "'peer_host'.*names no Region"),
        (HOST, {"peer_host": HOST}, "and so is HOST"),
    ],
)
def test_a_region_that_cannot_be_right_is_refused(
    host: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=message):
        wrapper(HOST=host, OPTIONS=options).get_connection_params()


def test_ships_the_five_amazon_roots_and_nothing_else() -> None:
    pem = AMAZON_ROOTS.read_text()
    named = {line[2:].rpartition(": ")[2] for line in pem.splitlines() if ": " in line}
    blocks = pem.split("-----BEGIN CERTIFICATE-----")[1:]
    found = {
        hashlib.sha256(
            ssl.PEM_cert_to_DER_cert(
                "-----BEGIN CERTIFICATE-----"
                + block.split("-----END")[0]
                + "-----END CERTIFICATE-----"
            )
        ).hexdigest()
        for block in blocks
    }
    assert len(found) == 5
    assert found == named
    assert "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e" in found


class WallClock(SimpleNamespace):
    """Time that passes when a test says so."""

    now = 1_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    clock = WallClock()
    monkeypatch.setattr("config.dsql.base.time", clock)
    return clock


def test_a_busy_connection_costs_no_round_trip_and_an_idle_one_one(
    other: DatabaseWrapper, clock: WallClock, sandbox: lifecycle.Status
) -> None:
    with relay(sandbox.port) as wire:
        run(other, "SELECT 1")
        wire.reset()
        for _ in range(5):
            clock.now += 60
            other.close_if_unusable_or_obsolete()
            other.close_if_unusable_or_obsolete()
            run(other, "SELECT 1")
        assert wire.round_trips == 5
        clock.now += 61
        other.close_if_unusable_or_obsolete()
        run(other, "SELECT 1")
        assert (wire.round_trips, wire.connections) == (7, 1)
        other.close()


def test_between_requests_the_server_is_asked_nothing(
    other: DatabaseWrapper, clock: WallClock, sandbox: lifecycle.Status
) -> None:
    """A request that needs no database does not wait for one that is silent."""
    with relay(sandbox.port) as wire:
        run(other, "SELECT 1")
        with pytest.raises(ProgrammingError):
            run(other, "SELECT nothing_of_the_kind")
        assert other.errors_occurred
        wire.reset()
        clock.now += 61
        other.close_if_unusable_or_obsolete()
        other.close_if_unusable_or_obsolete()
        assert wire.round_trips == 0
        run(other, "SELECT 1")
        assert wire.round_trips == 2
        other.close()


def test_a_connection_is_checked_when_the_clock_was_set_back(
    other: DatabaseWrapper, clock: WallClock, sandbox: lifecycle.Status
) -> None:
    with relay(sandbox.port) as wire:
        run(other, "SELECT 1")
        wire.reset()
        clock.now -= 3600
        other.close_if_unusable_or_obsolete()
        run(other, "SELECT 1")
        assert wire.round_trips == 2
        other.close()


def test_an_idle_connection_that_died_is_replaced(
    other: DatabaseWrapper, clock: WallClock, sandbox: lifecycle.Status
) -> None:
    with relay(sandbox.port):
        run(other, "SELECT 1")
    before = other.connection
    clock.now += 61
    other.close_if_unusable_or_obsolete()
    assert run(other, "SELECT 1") == [(1,)]
    assert other.connection is not before


def test_a_connection_idle_above_300_seconds_is_replaced_without_asking(
    other: DatabaseWrapper, clock: WallClock, sandbox: lifecycle.Status
) -> None:
    """The flow is gone by then, and nobody says so: a question has no response."""
    with relay(sandbox.port) as wire:
        run(other, "SELECT 1")
        before = other.connection
        clock.now += 300
        other.close_if_unusable_or_obsolete()
        assert run(other, "SELECT 1") == [(1,)]
        assert other.connection is before
        assert wire.connections == 1
        clock.now += 301
        other.close_if_unusable_or_obsolete()
        assert other.connection is None
        assert run(other, "SELECT 1") == [(1,)]
        assert wire.connections == 2
        other.close()


def test_an_idle_connection_stays_while_its_transaction_is_open(
    other: DatabaseWrapper, clock: WallClock
) -> None:
    with transaction.atomic(using="other"):
        run(other, "SELECT 1")
        before = other.connection
        clock.now += 60 * 60
        other.close_if_unusable_or_obsolete()
        assert other.connection is before
    other.close_if_unusable_or_obsolete()
    assert other.connection is None


def test_ends_between_45_and_55_minutes_of_wall_clock(
    other: DatabaseWrapper, clock: WallClock
) -> None:
    for _ in range(3):
        run(other, "SELECT 1")
        before = other.connection
        for _ in range(45):
            clock.now += 60 - 1
            other.close_if_unusable_or_obsolete()
            assert other.connection is before
        for _ in range(11):
            clock.now += 60
            other.close_if_unusable_or_obsolete()
        assert other.connection is None


def test_connections_do_not_all_end_together(
    other: DatabaseWrapper, clock: WallClock
) -> None:
    ends = set()
    for _ in range(5):
        run(other, "SELECT 1")
        ends.add(other._ends_at)
        other.close()
    assert len(ends) == 5


def test_connecting_sends_nothing_but_the_login(
    other: DatabaseWrapper, sandbox: lifecycle.Status
) -> None:
    """Two flights of TLS 1.3, the startup packet and the token; then the statement."""
    with relay(sandbox.port) as wire:
        other.ensure_connection()
        login = wire.round_trips
        run(other, "SELECT 1")
        assert wire.round_trips == login + 1
        other.close()
    assert login <= 5


def test_both_regions_answer_through_the_backend(
    other: DatabaseWrapper, peer: DatabaseWrapper
) -> None:
    assert run(other, "SELECT version()") == run(peer, "SELECT version()")
    assert peer.connection.info.host.split(".")[2] == "us-east-2"
    assert other.connection.info.host.split(".")[2] == "us-east-1"
