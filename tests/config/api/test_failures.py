"""What the log says of each 503: one line with the cause, and seldom a traceback."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError
from django.test import Client

from config.api import bearer_tokens, failures, health
from config.api.failures import FailureLog, describe_cause
from config.dsql.conflicts import OutcomeUnknown
from config.dsql.retry import ConflictRetriesExhausted
from config.telemetry.logs import JSONFormatter
from tests.failing import fail_statements
from tests.users.test_api import ADA, send

pytestmark = pytest.mark.django_db
REFUSED = 'connection to server at "127.0.0.1", port 1 failed: Connection refused'


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[dict[str, Any]]]:
    """The lines of the failures' logger, as they are written."""
    written: list[dict[str, Any]] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(json.loads(self.format(record)))

    collector = Collector()
    collector.setFormatter(JSONFormatter())
    failures.logger.addHandler(collector)
    failures.FAILURES.clear()
    yield written
    failures.logger.removeHandler(collector)


def lost() -> OperationalError:
    """As Django raises it from psycopg's."""
    error = OperationalError("Nothing was committed")
    error.__cause__ = ConnectionError(f"{REFUSED}\n\tIs the server running?")
    return error


def test_a_lost_database_is_a_line_a_request_and_one_traceback(
    monkeypatch: pytest.MonkeyPatch, lines: list[dict[str, Any]]
) -> None:
    fail_statements(monkeypatch, lost())
    answers = [Client().get("/users") for _ in range(20)]
    assert {answer.status_code for answer in answers} == {503}
    assert [line["request_id"] for line in lines] == [
        answer["X-Request-Id"] for answer in answers
    ]
    for line in lines:
        assert (
            line["message"] == f"database_unavailable: ConnectionError: {REFUSED}"[:300]
        )
        assert line["level"] == "ERROR"
    assert ["exception" in line for line in lines] == [True] + [False] * 19


@pytest.mark.parametrize(
    ("error", "code"),
    [(OperationalError("x"), "database_unavailable"), (InterfaceError("x"), "database_unavailable"),
     (ConflictRetriesExhausted("x"), "write_conflict"), (OutcomeUnknown("x"), "outcome_unknown")],
)  # fmt: skip
def test_every_503_of_the_database_has_its_line(
    monkeypatch: pytest.MonkeyPatch, lines: list[dict[str, Any]], error: Exception,
    code: str,
) -> None:  # fmt: skip
    fail_statements(monkeypatch, error)
    answer = send(Client(), "POST", "/users", ADA)
    assert (answer.status_code, answer.json()["code"]) == (503, code)
    (line,) = lines
    assert line["message"] == f"{code}: {type(error).__name__}: x"
    assert "exception" in line


def test_an_issuer_without_keys_has_its_line(
    monkeypatch: pytest.MonkeyPatch, settings: Any, lines: list[dict[str, Any]]
) -> None:
    def none(*_: Any) -> None:
        raise bearer_tokens.NoKeys("no key of the issuer is known")

    settings.API_AUTH = "oidc"
    monkeypatch.setattr(bearer_tokens, "verify", none)
    answer = Client().get("/users", headers={"authorization": "Bearer x"})
    assert answer.status_code == 503
    (line,) = lines
    assert (
        line["message"] == "issuer_unavailable: NoKeys: no key of the issuer is known"
    )


def test_health_that_is_asked_of_a_lost_database_has_its_line(
    monkeypatch: pytest.MonkeyPatch, lines: list[dict[str, Any]]
) -> None:
    fail_statements(monkeypatch, lost())
    monkeypatch.setattr(health, "STATE", health.CachedState(health.probe, lambda: 1.0))
    assert {Client().get("/health").status_code for _ in range(5)} == {503}
    (line,) = lines
    assert line["message"] == f"health: ConnectionError: {REFUSED}"


def test_the_traceback_comes_again_after_a_minute_and_for_each_code(
    lines: list[dict[str, Any]],
) -> None:
    now = 1_000_000.0
    log = FailureLog(clock=lambda: now)
    for _ in range(3):
        log.write("a", ValueError("x"))
        log.write("b", ValueError("x"))
    now += failures.TRACEBACK_SECONDS
    log.write("a", ValueError("x"))
    now -= 3600  # a clock set back keeps no traceback for an hour
    log.write("a", ValueError("x"))
    shown = [line["message"][0] for line in lines if "exception" in line]
    assert (shown, len(lines)) == (["a", "b", "a", "a"], 8)


def test_a_cause_is_one_line_without_people_in_it(
    lines: list[dict[str, Any]],
) -> None:
    FailureLog().write("a", OperationalError("Key (email)=(ada@example.com)\nmore"))
    (line,) = lines
    assert "ada" not in line["message"]
    assert "more" not in line["message"]
    assert describe_cause(ValueError()) == "ValueError: "
    assert len(describe_cause(ValueError("x" * 9000))) == failures.MAX_CAUSE
    circle = ValueError("round")
    circle.__cause__ = KeyError("x")
    circle.__cause__.__cause__ = circle
    assert describe_cause(circle).startswith("KeyError")
