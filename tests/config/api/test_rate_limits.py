"""How often one caller may call."""

from typing import Any

import pytest
from django.test import Client

from config.api import rate_limits

pytestmark = pytest.mark.django_db


def test_a_bucket_empties_refuses_and_refills() -> None:
    now = 100.0
    buckets = rate_limits.Buckets(clock=lambda: now)
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


def test_the_fullest_buckets_are_forgotten_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate_limits, "MAX_CALLERS", 100)
    buckets = rate_limits.Buckets(clock=lambda: 0.0)
    for _ in range(10):
        buckets.take("emptied", 10)
    for number in range(1000):  # one customer with many addresses
        assert buckets.take(f"address {number}", 10).wait == 0
        assert len(buckets._levels) <= 100
    assert buckets.take("emptied", 10).wait > 0


def test_a_bucket_that_has_refilled_counts_as_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(rate_limits, "MAX_CALLERS", 2)
    buckets = rate_limits.Buckets(clock=lambda: now)
    for _ in range(10):
        buckets.take("early", 10)
    now = 59.0
    for _ in range(5):
        buckets.take("late", 10)
    buckets.take("new", 10)
    assert set(buckets._levels) == {"late", "new"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
     ("2001:db8:1:2::1", "2001:0DB8:0001:0002::1", True),
     ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
     ("::ffff:192.0.2.1", "192.0.2.1", True),
     ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
     ("192.0.2.1", "192.0.2.2", False), ("fe80::1%eth0", "fe80::2%eth1", True),
     ("", "192.0.2.1", False), (":x", ":y", False)],
)  # fmt: skip
def test_an_ipv6_customer_is_one_caller(
    client: Client, settings: Any, one: str, other: str, same: bool
) -> None:
    rate_limits.BUCKETS.clear()
    settings.API_RATE_LIMIT = 1
    assert client.get("/users", REMOTE_ADDR=one).status_code == 200
    second = client.get("/users", REMOTE_ADDR=other)
    assert second.status_code == (429 if same else 200)


def test_an_address_is_never_a_callers_bucket(client: Client, settings: Any) -> None:
    rate_limits.BUCKETS.clear()
    settings.API_RATE_LIMIT = 1
    known: dict[str, Any] = {
        "apigateway.caller": "192.0.2.1",
        "REMOTE_ADDR": "192.0.2.9",
    }
    assert client.get("/users", **known).status_code == 200
    assert client.get("/users", REMOTE_ADDR="192.0.2.1").status_code == 200
    assert client.get("/users", **known).status_code == 429


def test_answers_say_what_is_left_and_429_when_to_come_back(
    client: Client, settings: Any
) -> None:
    rate_limits.BUCKETS.clear()
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
