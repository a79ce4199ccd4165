"""Where credentials come from, and what is said where they do not."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions
from django.db import connection
from django.test import Client

from config.api.health import STATE
from config.dsql import credentials
from config.dsql.credentials import (
    CONTAINER,
    Credentials,
    CredentialsUnavailable,
    find_credentials,
)
from tests.checkout import Checkout

HOST = "abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws"
KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
)
SECRET = "wJalrXUtnFEMI"


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    for name in credentials.FILES:
        monkeypatch.setenv(name, str(tmp_path / name))
    yield
    CONTAINER.clear()


def forbid_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise AssertionError("botocore was asked")

    monkeypatch.setattr(credentials, "_session", fail)


@pytest.mark.parametrize(
    ("more", "token"),
    [
        ({}, None), ({"AWS_SESSION_TOKEN": "t"}, "t"), ({"AWS_SESSION_TOKEN": ""}, None),
        # As botocore: the older name first.
        ({"AWS_SESSION_TOKEN": "t", "AWS_SECURITY_TOKEN": "s"}, "s"),
        ({"AWS_PROFILE": "other"}, None),
    ],
)  # fmt: skip
def test_keys_of_the_environment_are_taken_as_they_are_now(
    more: dict[str, str], token: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_botocore(monkeypatch)
    environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", **more}
    assert find_credentials(environ) == Credentials("a", "b", token)
    environ |= {"AWS_ACCESS_KEY_ID": "later"}
    assert find_credentials(environ).access_key == "later"


def test_a_key_without_its_secret_is_botocores_to_judge(
    no_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    credentials._session.cache_clear()
    with pytest.raises(CredentialsUnavailable, match="Partial credentials"):
        find_credentials()
    credentials._session.cache_clear()


def test_without_botocore_it_is_said_what_is_missing(
    no_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "botocore.session", None)
    credentials._session.cache_clear()
    with pytest.raises(CredentialsUnavailable, match=r"botocore.*correct their source"):
        find_credentials()


def test_threads_that_begin_at_once_load_botocore_one_after_the_other(
    no_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = threading.Semaphore(1)
    barrier = threading.Barrier(8)

    class Session:
        def get_credentials(self) -> "Session":
            assert inside.acquire(blocking=False)
            time.sleep(0)
            inside.release()
            return self

        def get_frozen_credentials(self) -> Credentials:
            return Credentials("a", "b")

    monkeypatch.setattr(credentials, "_session", Session)

    def first(_: int) -> Credentials:
        barrier.wait()
        return find_credentials()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(first, range(8))) == {Credentials("a", "b")}


@pytest.mark.parametrize(
    "keys",
    [(1, SECRET, None), ("a", 123456789, None), ("a", SECRET, [SECRET]), ("a", SECRET + "\n", "")],
    ids=["key", "secret", "token", "line break"],
)  # fmt: skip
def test_what_botocore_found_and_nobody_can_sign_with_is_one_sentence_without_it(
    keys: tuple[Any, Any, Any], no_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Session:
        def get_credentials(self) -> "Session":
            return self

        def get_frozen_credentials(self) -> Credentials:
            return Credentials(*keys)

    monkeypatch.setattr(credentials, "_session", Session)
    with pytest.raises(CredentialsUnavailable, match="is no text") as caught:
        find_credentials()
    assert SECRET not in str(caught.value)
    assert "123456789" not in str(caught.value)


def test_credentials_do_not_show_their_secrets() -> None:
    shown = repr(Credentials("AKIA1", SECRET, f"{SECRET}-token"))
    assert "AKIA1" in shown
    assert SECRET not in shown


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
    error: Exception, late: bool, no_keys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "_session", lambda: Source(error, late=late))
    with pytest.raises(
        CredentialsUnavailable, match=r"cannot be had: .*; sign in again"
    ) as caught:
        find_credentials()
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
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(credentials, "_session", lambda: Source(error, late=True))
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
