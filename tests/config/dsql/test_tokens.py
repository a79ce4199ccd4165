from dataclasses import dataclass
from datetime import UTC, datetime

import boto3
import pytest
from botocore import auth, exceptions
from django.db import connection
from django.test import Client

from config.api.health import STATE
from config.dsql import tokens
from config.dsql.tokens import (
    LIFETIME,
    RENEW_BEFORE,
    CredentialsUnavailable,
    Endpoint,
    TokenCache,
    region_of,
    session_credentials,
    sign,
)
from tests.checkout import Checkout

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


FAILURES = (
    exceptions.CredentialRetrievalError(
        provider="custom-process", error_msg="exit 1\n"
    ),
    exceptions.SSOTokenLoadError(error_msg="no token for https://example.com/start"),
    exceptions.UnauthorizedSSOTokenError(),
    exceptions.TokenRetrievalError(provider="sso", error_msg="expired"),
    exceptions.ProfileNotFound(profile="nobody"),
    exceptions.PartialCredentialsError(
        provider="env", cred_var="AWS_SECRET_ACCESS_KEY"
    ),
    exceptions.ClientError(
        {"Error": {"Code": "ExpiredToken", "Message": "x" * 5000}}, "AssumeRole"
    ),
    RuntimeError("the refreshed credentials are still expired"),
    FileNotFoundError("/var/run/token"),
    ValueError("Expecting value: line 1 column 1 (char 0)"),
)


class Source:
    """A session that fails to find credentials, or finds what fails to be refreshed."""

    def __init__(self, error: Exception, *, late: bool) -> None:
        self._error, self._late = error, late

    def get_credentials(self) -> "Source":
        if self._late:
            return self
        raise self._error

    def get_frozen_credentials(self) -> None:
        raise self._error


@pytest.mark.parametrize("late", [False, True], ids=["found", "refreshed"])
@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_whatever_a_source_of_credentials_fails_with_is_one_sentence(
    error: Exception, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_session", lambda: Source(error, late=late))
    with pytest.raises(
        CredentialsUnavailable, match=r"cannot be had: .*; sign in again"
    ) as caught:
        session_credentials()
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", FAILURES[:4], ids=lambda error: type(error).__name__)
@pytest.mark.django_db(transaction=True)
def test_a_request_without_credentials_is_503_and_one_line_of_log(
    error: Exception,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    connection.close()
    monkeypatch.setattr(tokens, "_session", lambda: Source(error, late=True))
    answer = client.get("/users")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert "credentials" in answer.json()["detail"]
    (line,) = [r for r in caplog.records if "cannot be had" in r.getMessage()]
    assert line.exc_info is None
    STATE.clear()
    assert client.get("/health").json()["database"] == "unreachable"
    monkeypatch.undo()
    assert client.get("/users").status_code == 200
    STATE.clear()


@pytest.mark.e2e
@pytest.mark.parametrize(
    "command",
    [["migrate"], ["dbshell"], ["dsql_token", "--endpoint", HOST]],
    ids=lambda words: words[0],
)
def test_a_command_without_credentials_ends_with_one_sentence(
    command: list[str], checkout: Checkout
) -> None:
    environ = {
        "TARGET": "aws",
        "DSQL_ENDPOINT": HOST,
        "DJANGO_SECRET_KEY": "k" * 50,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }
    ended = checkout.manage(*command, **environ)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "No AWS credentials to sign a DSQL token with" in ended.stderr
