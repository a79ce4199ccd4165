"""Names that nothing looks up, and addresses that nothing answers at."""

import math
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from config.dsql import driver
from config.dsql.deadlines import Allowance, NoResponse
from config.dsql.endpoints import ConnectFailure, classify_failure
from ops.local.sandbox import lifecycle


def refuse_to_open(params: dict[str, Any]) -> None:
    pytest.fail(f"opened {params}")


def test_a_lookup_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ended.wait(30))
    monkeypatch.delenv("PGHOSTADDR")
    allowance = Allowance(0.2)
    with pytest.raises(NoResponse):
        driver.open_within(allowance, {"host": "db.example.com"}, refuse_to_open)
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


@contextmanager
def silent_port() -> Iterator[int]:
    """A listener that takes connections and says nothing."""
    with socket.create_server(("127.0.0.2", 0)) as listener:
        yield int(listener.getsockname()[1])


@pytest.mark.parametrize(
    "error",
    [socket.gaierror("Name or service not known"), UnicodeError("label too long")],
)
def test_a_name_that_cannot_be_looked_up_is_a_lost_endpoint(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.delenv("PGHOSTADDR")
    with pytest.raises(psycopg.OperationalError, match="failed to resolve") as caught:
        driver.open_within(Allowance(5), {"host": "db.example.com"}, refuse_to_open)
    assert classify_failure(caught.value) is ConnectFailure.UNREACHABLE


def test_without_another_thread_a_lookup_is_made_in_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    assert driver.call_within(Allowance(5), lambda: 7) == 7


@pytest.mark.parametrize("error", [RuntimeError, OSError])
def test_a_lookups_own_error_is_raised(error: type[Exception]) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(error):
        driver.call_within(Allowance(5), fail)
    assert driver.call_within(Allowance(5), lambda: 7) == 7
    assert driver.call_within(Allowance(math.inf), lambda: 7) == 7
