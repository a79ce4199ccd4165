"""What /health says: well, without a database, and with code ahead of the schema."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from config.api import health, rate_limits
from tests.failing import fail_statements

pytestmark = pytest.mark.django_db
WELL = {"status": "ok", "region": "us-east-1", "database": "ok", "schema": "current"}


def test_a_region_that_can_serve_says_so(client: Client) -> None:
    answer = client.get("/health")
    assert (answer.status_code, answer.json()) == (200, WELL)


def test_code_that_needs_a_migration_does_not_serve(client: Client) -> None:
    """As after a deployment that forgot dsql_database."""
    MigrationRecorder.Migration.objects.filter(app="users").latest("id").delete()
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json() == {**WELL, "status": "unavailable", "schema": "behind"}
    assert answer["Retry-After"] == "1"


def test_a_schema_that_is_ahead_serves(client: Client) -> None:
    """As while the other Region already has newer code."""
    MigrationRecorder.Migration.objects.create(app="users", name="0999_later")
    assert client.get("/health").json() == WELL


def test_a_database_that_cannot_be_reached_is_the_reason(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_statements(monkeypatch, OperationalError())
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["database"] == "unreachable"
    assert answer.json()["schema"] == "unknown"


def test_health_is_asked_of_the_database_once_a_second() -> None:
    now, asked = 1_000_000.0, 0

    def probe() -> health.State:
        nonlocal asked
        asked += 1
        return health.State("ok", "current" if asked == 1 else "behind")

    cached = health.CachedState(probe, clock=lambda: now)
    assert [cached.get().schema for _ in range(100)] == ["current"] * 100
    now += health.CACHE_SECONDS - 0.01
    assert cached.get().schema == "current"
    now += 0.01
    assert cached.get().schema == "behind"
    now -= 3600  # a clock set back does not keep a state for an hour
    cached.get()
    assert asked == 3


def test_a_probe_that_breaks_is_not_cached() -> None:
    outcomes: list[ValueError | health.State] = [
        ValueError("a bug"),
        health.State("ok", "current"),
    ]

    def probe() -> health.State:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    cached = health.CachedState(probe)
    with pytest.raises(ValueError, match="a bug"):
        cached.get()
    assert cached.get() == ("ok", "current")


def test_checkers_that_ask_at_once_share_one_probe() -> None:
    """Each finds the state of the one who was first, however long that took."""
    start, asked = threading.Barrier(8), []

    def probe() -> health.State:
        asked.append(threading.get_ident())
        return health.State("ok", "current")

    cached = health.CachedState(probe, clock=lambda: 1_000_000.0)

    def check() -> health.State:
        start.wait(timeout=30)
        return cached.get()

    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(check) for _ in range(8)]
    assert {each.result() for each in found} == {("ok", "current")}
    assert len(asked) == 1


def test_health_costs_one_query_a_second_and_is_never_limited(
    client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: Any,
) -> None:  # fmt: skip
    rate_limits.BUCKETS.clear()
    settings.API_RATE_LIMIT = 1
    cached = health.CachedState(health.probe, clock=lambda: 1_000_000.0)
    monkeypatch.setattr(health, "STATE", cached)
    with django_assert_num_queries(1):
        for path in ["/health", "/health/live"] * 50:
            answer = client.get(path)
            assert (answer.status_code, "RateLimit" in answer) == (200, False)
