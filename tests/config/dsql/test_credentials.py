"""Where credentials come from, and what is said where they do not."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
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


class Endpoint:
    """Stands in for the address that Lambda names under SnapStart."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.respond: Callable[[socket.socket], None] = self.send(document())
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.server.getsockname()[1]}/2021-06-01/credentials?x=1"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):  # closed
            while True:
                connection, _ = self.server.accept()
                with connection, suppress(OSError):
                    self.requests.append(connection.recv(65536).decode())
                    self.respond(connection)

    @staticmethod
    def send(
        body: Any, status: str = "200 OK", head: str = ""
    ) -> Callable[[socket.socket], None]:
        text = body if isinstance(body, str) else json.dumps(body)
        return lambda connection: connection.sendall(
            f"HTTP/1.0 {status}\r\n{head}\r\n{text}".encode()
        )


def document(key: str = "ASIA1", seconds: float = 3600.0) -> dict[str, str]:
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
    return {
        "AccessKeyId": key, "SecretAccessKey": "s", "Token": "t", "Expiration": expires,
    }  # fmt: skip


@pytest.fixture
def endpoint(no_keys: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    found = Endpoint()
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", found.address)
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "a token")
    forbid_botocore(monkeypatch)
    yield found
    found.server.shutdown(socket.SHUT_RDWR)
    found.server.close()


def test_credentials_of_snapstart_are_fetched_once_while_they_last(
    endpoint: Endpoint,
) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: find_credentials(), range(8)))
    assert {(each.access_key, each.secret_key, each.token) for each in found} == {
        ("ASIA1", "s", "t")
    }
    (request,) = endpoint.requests
    assert request.startswith(
        "GET /2021-06-01/credentials?x=1 HTTP/1.0\r\nHost: 127.0.0.1:"
    )
    assert "\r\nAuthorization: a token\r\n" in request


def test_credentials_that_end_soon_are_fetched_again(endpoint: Endpoint) -> None:
    endpoint.respond = endpoint.send(document(seconds=credentials.RENEW_BEFORE - 10))
    assert find_credentials().access_key == "ASIA1"
    endpoint.respond = endpoint.send(document("ASIA2"))
    assert find_credentials().access_key == "ASIA2"


def test_credentials_that_cannot_be_renewed_yet_are_used_while_they_last(
    endpoint: Endpoint,
) -> None:
    endpoint.respond = endpoint.send(document(seconds=credentials.RENEW_BEFORE - 10))
    find_credentials()
    endpoint.respond = endpoint.send("", "500 Internal Server Error")
    assert find_credentials().access_key == "ASIA1"
    CONTAINER.clear()
    with pytest.raises(CredentialsUnavailable):
        find_credentials()


def drip(connection: socket.socket) -> None:
    """A byte now and then: no single read takes long, the whole has no end."""
    while True:
        connection.sendall(b"H")
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("respond", "why"),
    [
        (drip, r"no whole response within 0\.2 s|timed out"),
        (lambda _: time.sleep(0.5), "timed out"),
        (lambda _: None, "endpoint answered"),
        (Endpoint.send({}, "403 Forbidden"), "endpoint answered b'HTTP/1.0 403"),
        (Endpoint.send("x" * 70_000), "endpoint answered"),
        (Endpoint.send("no JSON"), "Expecting value"),
        (Endpoint.send([]), "lack"),
        (Endpoint.send({"AccessKeyId": "a"}), "lack 'Expiration'"),
        (Endpoint.send(document() | {"Expiration": "soon"}), "Invalid isoformat"),
    ],
    ids=["drips", "silent", "closes", "403", "large", "text", "list", "part", "moment"],
)
def test_an_endpoint_that_does_not_answer_well_is_one_sentence_within_its_time(
    respond: Any, why: str, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "FETCH_SECONDS", 0.2)
    endpoint.respond = respond
    with pytest.raises(CredentialsUnavailable, match=f"cannot be had: .*({why})"):
        find_credentials()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://evil.example.com/x"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "https://localhost/x"),
        ("AWS_PROFILE", "mine"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/token"),
        ("AWS_SHARED_CREDENTIALS_FILE", __file__),
    ],
)
def test_what_botocore_would_ask_first_or_refuse_is_left_to_it(
    name: str, value: str, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(CredentialsUnavailable, match="botocore was asked"):
        find_credentials()
    assert endpoint.requests == []


def test_a_line_break_in_the_token_is_no_other_header(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "a\r\nHost: evil")
    with pytest.raises(CredentialsUnavailable, match="line break"):
        find_credentials()
    assert endpoint.requests == []


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
