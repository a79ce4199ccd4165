import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from threading import Barrier
from typing import Any

import boto3
import pytest
from botocore import auth

from config.dsql import tokens
from config.dsql.credentials import Credentials
from config.dsql.tokens import (
    LIFETIME,
    RENEW_BEFORE,
    Endpoint,
    TokenCache,
    parse_region,
    sign,
)

HOST = "abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws"


Keys = partial(Credentials, "AKIDEXAMPLE", "secret")
# As AWS makes them: base64, with every character that a query must encode.
SESSION_TOKEN = "IQoJb3JpZ2luX2VjE/+==" * 20


@pytest.mark.parametrize(
    "moment",
    [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC)],
)
@pytest.mark.parametrize("token", [None, SESSION_TOKEN], ids=["keys", "a session"])
@pytest.mark.parametrize("secret", ["secret", "wJalr/XUtnFEMI+K7MDENG/bPxRfiCY=="])
@pytest.mark.parametrize("region", ["us-east-1", "ap-northeast-3"])
@pytest.mark.parametrize("user", ["admin", "app"])
def test_signs_exactly_what_boto3_signs(
    user: str,
    region: str,
    secret: str,
    token: str | None,
    moment: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = moment.replace(tzinfo=None)
    monkeypatch.setattr(auth, "get_current_datetime", lambda: now)
    session = boto3.session.Session("ASIAEXAMPLE/+", secret, token)
    client: Any = session.client("dsql", region_name=region)
    generate = (
        client.generate_db_connect_admin_auth_token
        if user == "admin"
        else client.generate_db_connect_auth_token
    )
    host = HOST.replace("us-east-1", region)
    credentials = Credentials("ASIAEXAMPLE/+", secret, token)
    for lifetime in (LIFETIME, 1, 604_800):
        signed = sign(
            Endpoint(host, region, user), credentials, lifetime, moment.timestamp()
        )
        assert signed == generate(host, ExpiresIn=lifetime)


def test_signs_the_present_where_no_other_moment_is_given() -> None:
    before = time.gmtime()
    token = sign(Endpoint(HOST, "us-east-1", "app"), Keys())
    shown = token.partition("X-Amz-Date=")[2][:16]
    stamps = [time.strftime("%Y%m%dT%H%M%SZ", each) for each in (before, time.gmtime())]
    assert stamps[0] <= shown <= stamps[1]


def test_keeps_a_token_until_it_is_no_longer_comfortably_valid() -> None:
    times = iter([0.0, LIFETIME - RENEW_BEFORE, LIFETIME - RENEW_BEFORE + 1.0])
    cache = TokenCache(Keys, clock=lambda: next(times))
    endpoint = Endpoint(HOST, "us-east-1", "admin")
    first = cache.issue(endpoint)
    assert cache.issue(endpoint) is first
    assert cache.issue(endpoint) is not first


def test_signs_again_when_the_clock_was_set_back() -> None:
    times = iter([5000.0, 1000.0, 1000.0])
    cache = TokenCache(Keys, clock=lambda: next(times))
    endpoint = Endpoint(HOST, "us-east-1", "admin")
    first = cache.issue(endpoint)
    cache.issue(endpoint)
    signed_until = cache._kept[endpoint][1]
    assert signed_until == 1000.0 + LIFETIME
    second = cache.issue(endpoint)
    assert cache._kept[endpoint][2] is second
    assert first.partition("?")[0] == second.partition("?")[0]


def test_signs_again_when_the_credentials_changed() -> None:
    keys = iter([Credentials("A", "s"), Credentials("B", "s")])
    cache = TokenCache(lambda: next(keys), clock=lambda: 0.0)
    endpoint = Endpoint(HOST, "us-east-1", "admin")
    assert "Credential=A%2F" in cache.issue(endpoint)
    assert "Credential=B%2F" in cache.issue(endpoint)


def test_signs_again_when_the_session_of_a_key_changed() -> None:
    keys = iter([Keys("1"), Keys("2")])
    cache = TokenCache(lambda: next(keys), clock=lambda: 0.0)
    endpoint = Endpoint(HOST, "us-east-1", "admin")
    assert "Security-Token=1&" in cache.issue(endpoint)
    assert "Security-Token=2&" in cache.issue(endpoint)


def test_threads_that_begin_at_once_share_the_first_signature(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signed: list[str] = []

    def count(endpoint: Endpoint, *arguments: object, **named: object) -> str:
        time.sleep(0)  # whoever waits goes on here
        signed.append(endpoint.user)
        return f"token {len(signed)}"

    monkeypatch.setattr(tokens, "sign", count)
    cache, barrier = TokenCache(Keys), Barrier(8)

    def first(_: int) -> str:
        barrier.wait()
        return cache.issue(Endpoint(HOST, "us-east-1", "app"))

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(first, range(8))) == {"token 1"}
    assert signed == ["app"]


@pytest.mark.parametrize(
    ("host", "region"),
    [(HOST, "us-east-1"), ("localhost", None), ("x.rds.us-east-1.on.aws", None)],
)
def test_reads_the_region_from_the_host(host: str, region: str | None) -> None:
    assert parse_region(host) == region
