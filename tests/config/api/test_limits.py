"""How often one caller may call."""

from typing import Any

import pytest
from django.test import Client

from config.api import limits

pytestmark = pytest.mark.django_db


def test_a_bucket_empties_refuses_and_refills() -> None:
    now = 100.0
    buckets = limits.Buckets(clock=lambda: now)
    taken = [buckets.take("ada", 60) for _ in range(61)]
    assert [t.wait for t in taken] == [0] * 60 + [1]
    assert (taken[0].remaining, taken[59].remaining, taken[60].full_in) == (59, 0, 60)
    assert buckets.take("bob", 60).wait == 0
    now += 1.0
    assert buckets.take("ada", 60).wait == 0
    assert buckets.take("ada", 60).wait == 1
    now -= 50.0  # a clock set back takes nothing away
    assert buckets.take("bob", 60).remaining == 58
    now += 1000.0
    assert buckets.take("ada", 60).remaining == 59


def test_silent_callers_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CALLERS", 2)
    buckets = limits.Buckets(clock=lambda: 0.0)
    for caller in ("a", "b", "a", "c", "a"):
        last = buckets.take(caller, 10)
    assert last.remaining == 7
    assert buckets.take("b", 10).remaining == 9


def test_answers_say_what_is_left_and_429_when_to_come_back(
    client: Client, settings: Any
) -> None:
    limits.BUCKETS.clear()
    settings.API_RATE_LIMIT = 2
    first, second, third = (client.get("/users") for _ in range(3))
    assert (first.status_code, second.status_code, third.status_code) == (200, 200, 429)
    assert first["RateLimit-Policy"] == '"caller";q=2;w=60'
    assert first["RateLimit"] == '"caller";r=1;t=30'
    assert third.json()["code"] == "rate_limited"
    assert third["Content-Type"] == "application/problem+json"
    assert 1 <= int(third["Retry-After"]) <= 30
    assert client.get("/users", REMOTE_ADDR="10.0.0.2").status_code == 200
    assert client.get("/health/live").status_code == 200
