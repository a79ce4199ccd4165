import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection

from config.dsql.signals import connected
from config.telemetry.tracing import traced

ROOT, PARENT = "1-67891233-abcdef012345678912345678", "53995c3f42cd8ad8"


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[socket.socket]:
    settings.XRAY_SUBSEGMENTS = True
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", address)
        trace = f"Root={ROOT};Parent={PARENT};Sampled=1"
        monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
        yield server


def received(daemon: socket.socket) -> dict[str, Any]:
    header, document = daemon.recv(65_536).split(b"\n", 1)
    assert json.loads(header) == {"format": "json", "version": 1}
    found: dict[str, Any] = json.loads(document)
    return found


def nothing_comes(daemon: socket.socket) -> bool:
    daemon.setblocking(False)
    try:
        daemon.recv(65_536)
    except BlockingIOError:
        return True
    return False


@pytest.mark.django_db
def test_a_statement_is_a_subsegment_without_its_parameters(
    daemon: socket.socket,
) -> None:
    with traced(), connection.cursor() as cursor:
        cursor.execute("SELECT %s::text", ["ada@example.com"])
    found = received(daemon)
    assert (found["trace_id"], found["parent_id"]) == (ROOT, PARENT)
    assert found["sql"]["sanitized_query"] == "SELECT %s::text"
    assert "ada" not in json.dumps(found)
    assert found["end_time"] >= found["start_time"]
    assert found["fault"] is False


@pytest.mark.django_db
def test_a_statement_that_fails_is_a_fault(daemon: socket.socket) -> None:
    with traced(), connection.cursor() as cursor, pytest.raises(DatabaseError):
        cursor.execute("SELECT 1/0")
    assert received(daemon)["fault"] is True


def test_a_connection_is_a_subsegment(daemon: socket.socket) -> None:
    connected.send(
        sender=None, host="a.dsql.us-east-1.on.aws", seconds=0.5, at_peer=False
    )
    found = received(daemon)
    assert found["name"] == "dsql connect"
    assert found["end_time"] - found["start_time"] == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize(
    "trace", ["", f"Root={ROOT};Parent={PARENT};Sampled=0", "Root=junk;Sampled=1"]
)
def test_what_x_ray_does_not_sample_is_not_sent(
    daemon: socket.socket, monkeypatch: pytest.MonkeyPatch, trace: str
) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
    connected.send(sender=None, host="h", seconds=0.1, at_peer=False)
    assert nothing_comes(daemon)


def test_it_is_off_unless_asked_for(daemon: socket.socket, settings: Any) -> None:
    settings.XRAY_SUBSEGMENTS = False
    connected.send(sender=None, host="h", seconds=0.1, at_peer=False)
    assert nothing_comes(daemon)


def test_an_absent_daemon_harms_nothing(
    daemon: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in ("", "127.0.0.1:1", "127.0.0.1:port", "junk"):
        monkeypatch.setenv("AWS_XRAY_DAEMON_ADDRESS", address)
        connected.send(sender=None, host="h", seconds=0.1, at_peer=False)
    assert nothing_comes(daemon)
