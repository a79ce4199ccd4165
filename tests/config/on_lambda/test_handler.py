"""Start-up: little time, no error, and nothing forgotten of what it found out."""

import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection
from django.test import Client

from config.dsql import deadlines
from config.dsql.endpoints import endpoints
from config.on_lambda import handler
from ops.local.sandbox import lifecycle
from ops.local.sandbox.fault_control import FaultClient
from tests.database import default_connection

PRIMARY, SECONDARY = "us-east-1", "us-east-2"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def cold(
    transactional_db: None, sandbox: lifecycle.Status, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A process that has connected to nothing yet; the peer is known."""
    endpoints.cache_clear()
    peer = sandbox.regions[1].endpoint
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "peer_host", peer)
    connection.close()
    yield
    connection.close()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "START_SECONDS", 0.4)


def test_the_first_request_uses_the_connection_of_the_start(client: Client) -> None:
    handler.prepare()
    opened = connection.connection
    assert opened is not None
    assert client.get("/users").status_code == 200
    assert connection.connection is opened


def test_a_silent_endpoint_leaves_time_for_the_peer_and_is_remembered(
    client: Client, faults: FaultClient
) -> None:
    faults.add("silent", region=PRIMARY)
    handler.prepare()
    assert default_connection().peer_region == SECONDARY
    assert default_connection().endpoints.failed_over
    answer = client.get("/users")
    assert (answer.status_code, answer["X-Database-Region"]) == (200, SECONDARY)
    connection.close()
    assert client.get("/users").status_code == 200
    assert faults.list()[0]["struck"] == 1  # the local endpoint was not tried again


def test_an_endpoint_that_goes_silent_after_the_login_is_remembered(
    client: Client, faults: FaultClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Setting the connection up may take a statement, which has no response."""
    monkeypatch.setattr(handler, "START_SECONDS", 0.8)

    def set_up() -> None:
        if default_connection().peer_region is None:
            faults.add("silent", region=PRIMARY)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    monkeypatch.setattr(connection, "init_connection_state", set_up)
    handler.prepare()
    assert default_connection().endpoints.failed_over
    monkeypatch.undo()
    assert client.get("/users").status_code == 200


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    "kind", ["silent", "waking-up", "refuse", "revoked-credentials"]
)
def test_with_both_endpoints_away_the_start_ends_and_the_first_request_tries_again(
    client: Client, faults: FaultClient, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    faults.add(kind)
    with caplog.at_level(logging.WARNING, handler.__name__):
        handler.prepare()
    assert connection.connection is None
    (record,) = [r for r in caplog.records if r.name == handler.__name__]
    assert "the first request tries again" in record.getMessage()
    assert not record.exc_info
    assert deadlines._current.get() is None
    faults.clear()
    assert client.get("/users").status_code == 200


@pytest.mark.usefixtures("short")
def test_a_name_that_is_looked_up_without_an_end_does_not_hold_the_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ended.wait(30))
    monkeypatch.delenv("PGHOSTADDR")
    with caplog.at_level(logging.WARNING, handler.__name__):
        handler.prepare()
    ended.set()
    assert connection.connection is None
    assert "No response of the system" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        ImproperlyConfigured("no endpoint"),
        OSError("no credentials"),
        RuntimeError("anything"),
        MemoryError(),
        psycopg.OperationalError("lost"),
        OperationalError("lost"),
    ],
    ids=lambda error: type(error).__module__ + "." + type(error).__name__,
)
def test_no_error_leaves_the_start(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(connection, "ensure_connection", fail)
    with caplog.at_level(logging.WARNING, handler.__name__):
        handler.prepare()
    assert "without a connection" in caplog.text


def test_views_that_cannot_be_imported_are_told_with_a_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        @property
        def url_patterns(self) -> Any:
            raise ImportError("no module named users.views")

    monkeypatch.setattr(handler, "get_resolver", Broken)
    with caplog.at_level(logging.WARNING, handler.__name__):
        handler.prepare()
    assert "no module named users.views" in caplog.text
    assert "Traceback" in caplog.text


def test_imports_take_their_time_from_the_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1000.0]
    monkeypatch.setattr(deadlines, "monotonic", lambda: now[0])

    class Slow:
        @property
        def url_patterns(self) -> list[Any]:
            now[0] += 2 * handler.START_SECONDS
            return []

    monkeypatch.setattr(handler, "get_resolver", Slow)
    with caplog.at_level(logging.WARNING, handler.__name__):
        handler.prepare()
    assert connection.connection is None
    assert "The time of the request is over" in caplog.text
