from dataclasses import dataclass
from datetime import UTC, datetime

import boto3
import pytest
from botocore import auth

from config.dsql.tokens import (
    LIFETIME,
    RENEW_BEFORE,
    Endpoint,
    TokenCache,
    region_of,
    sign,
)

HOST = "abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws"


@dataclass(frozen=True)
class Keys:
    access_key: str = "AKIDEXAMPLE"
    secret_key: str = "secret"
    token: str | None = None


@pytest.mark.parametrize("user", ["admin", "app"])
def test_signs_exactly_what_boto3_signs(
    user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    monkeypatch.setattr(auth, "get_current_datetime", lambda: now.replace(tzinfo=None))
    client = boto3.session.Session("AKIDEXAMPLE", "secret").client(
        "dsql", region_name="us-east-1"
    )
    generate = (
        client.generate_db_connect_admin_auth_token
        if user == "admin"
        else client.generate_db_connect_auth_token
    )
    assert sign(Endpoint(HOST, "us-east-1", user), Keys()) == generate(
        HOST, ExpiresIn=LIFETIME
    )


def test_keeps_a_token_until_it_is_no_longer_comfortably_valid() -> None:
    times = iter([0.0, LIFETIME - RENEW_BEFORE, LIFETIME - RENEW_BEFORE + 1.0])
    cache = TokenCache(Keys, clock=lambda: next(times))
    endpoint = Endpoint(HOST, "us-east-1", "admin")
    first = cache.issue(endpoint)
    assert cache.issue(endpoint) is first
    assert cache.issue(endpoint) is not first


def test_signs_again_when_the_credentials_changed() -> None:
    keys = iter([Keys("A"), Keys("B")])
    cache = TokenCache(lambda: next(keys), clock=lambda: 0.0)
    endpoint = Endpoint(HOST, "us-east-1", "admin")
    assert "Credential=A%2F" in cache.issue(endpoint)
    assert "Credential=B%2F" in cache.issue(endpoint)


@pytest.mark.parametrize(
    ("host", "region"),
    [(HOST, "us-east-1"), ("localhost", None), ("x.rds.us-east-1.on.aws", None)],
)
def test_reads_the_region_from_the_host(host: str, region: str | None) -> None:
    assert region_of(host) == region
