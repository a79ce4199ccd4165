"""Credentials from the address that Lambda names under SnapStart."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from config.dsql import credentials
from config.dsql.credentials import CONTAINER, CredentialsUnavailable, find_credentials
from tests.config.dsql.test_credentials import SECRET, forbid_botocore, no_keys

__all__ = ["no_keys"]  # a fixture of the one below


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
        (lambda _: None, "endpoint responded"),
        (Endpoint.send({}, "403 Forbidden"), "endpoint responded b'HTTP/1.0 403"),
        (Endpoint.send("x" * 70_000), "endpoint responded"),
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
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", ""),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", ""),
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


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        ({"AccessKeyId": None}, "AccessKeyId.* is no text"),
        ({"AccessKeyId": ""}, "AccessKeyId.* is no text"),
        ({"SecretAccessKey": 123456789}, "SecretAccessKey.* is no text"),
        ({"SecretAccessKey": f"{SECRET}\ud800"}, "SecretAccessKey.* is no text"),
        ({"SecretAccessKey": f"{SECRET}\n"}, "SecretAccessKey.* is no text"),
        ({"Token": [SECRET]}, "session token is no text"),
        ({"Token": None}, "session token is no text"),
        (document(seconds=-1), "are expired"),
        ({"Expiration": "0001-01-01T00:00:00+23:59"}, "are expired"),
        ({"Expiration": 4102444800}, "Expiration .* is no moment"),
        ({"Expiration": "2100-01-01T00:00:00"}, "Expiration .* is no moment"),
        ({"Expiration": f"{SECRET}"}, "Expiration .* is no moment"),
    ],
    ids=str,
)  # fmt: skip
def test_credentials_that_cannot_be_used_are_one_sentence_without_them(
    odd: dict[str, Any], why: str, endpoint: Endpoint
) -> None:
    endpoint.respond = endpoint.send(document() | {"SecretAccessKey": SECRET} | odd)
    with pytest.raises(
        CredentialsUnavailable, match=f"cannot be had: .*{why}"
    ) as caught:
        find_credentials()
    assert SECRET not in repr(caught.value) + repr(caught.value.__cause__)
    assert "123456789" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [SECRET, f"HTTP/1.0 {SECRET}", f"HTTP/1.0 500{SECRET}", f"HTTP/1.0 500 {SECRET}",
     f"HTTP/1.0 200 OK\r\n\r\n{SECRET}", "HTTP/1.0 200 OK\r\n\r\n" + "[" * 50_000],
    ids=lambda text: text[:40],
)  # fmt: skip
def test_what_is_no_response_is_one_sentence_without_it(
    text: str, endpoint: Endpoint
) -> None:
    endpoint.respond = lambda connection: connection.sendall(text.encode())
    with pytest.raises(CredentialsUnavailable, match="cannot be had") as caught:
        find_credentials()
    assert SECRET not in str(caught.value)


def test_credentials_that_last_are_kept_while_the_endpoint_sends_others_that_do_not(
    endpoint: Endpoint,
) -> None:
    endpoint.respond = endpoint.send(document(seconds=credentials.RENEW_BEFORE - 10))
    find_credentials()
    endpoint.respond = endpoint.send(document("ASIA2", seconds=-1))
    assert find_credentials().access_key == "ASIA1"


def test_a_line_break_in_the_token_is_no_other_header(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "a\r\nHost: evil")
    with pytest.raises(CredentialsUnavailable, match="line break"):
        find_credentials()
    assert endpoint.requests == []
