"""The server of this machine over real sockets: what reaches Django, and what returns."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.servers.basehttp import get_internal_wsgi_application
from django.db import connections
from zappa.wsgi import create_wsgi_request

from ops.local import http_server
from ops.local.http_server import Server
from ops.paths import PROJECT
from tests.ops.local.raw_http import SECONDS, Echo, Environ, exchange, problem, serving


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def port(echo: Echo) -> Iterator[int]:
    with serving(echo) as port:
        yield port
        echo.release.set()


def test_a_connection_serves_one_request_after_another(port: int) -> None:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    client.connect()
    opened = client.sock
    bodies = []
    for method, path in (
        ("GET", "/"), ("HEAD", "/"), ("DELETE", "/204"), ("GET", "/304"),
        ("GET", "/stream"), ("HEAD", "/stream"), ("POST", "/"),
    ):  # fmt: skip
        client.request(method, path, b"body" if method == "POST" else None)
        response = client.getresponse()
        bodies.append((response.getheader("Content-Length"), response.read()))
        if path != "/stream" or method != "HEAD":
            assert client.sock is opened, path
        opened = client.sock
    client.close()
    assert bodies == [
        ("7", b"nothing"), ("7", b""), (None, b""), (None, b""),
        (None, b"one\ntwo\n"), (None, b""), ("4", b"body"),
    ]  # fmt: skip


@pytest.mark.parametrize("address", [("127.0.0.1", 65_536), ("127.0.0.1", -1), ("no such name", 0)])  # fmt: skip
def test_an_address_that_is_none_is_an_error_as_runserver_expects_it(
    address: tuple[str, int],
) -> None:
    with pytest.raises(OSError, match=r"is not a port|There is no address"):
        Server(address)


@pytest.mark.parametrize(
    ("target", "host"),
    [("http://evil.example.com/", "evil.example.com"), ("HTTPS://a@b:1/", "a@b:1"),
     ("http:///", ""), ("//evil.example.com/", "localhost")],
)  # fmt: skip
def test_a_host_in_the_request_target_is_the_one_that_counts(
    port: int, echo: Echo, target: str, host: str
) -> None:
    request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    exchange(port, request.encode())
    (environ,) = echo.seen
    assert environ["HTTP_HOST"] == host


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET http://[::1/ HTTP/1.1",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000,
    ],
)
def test_what_the_parser_cannot_read_is_a_problem(
    port: int, echo: Echo, request_head: bytes
) -> None:
    document = problem(exchange(port, request_head + b"\r\nHost: localhost\r\n\r\n"))
    assert document["detail"] == "The request target or a length is malformed."
    assert not echo.seen


def test_a_coding_that_is_not_read_is_refused_in_one_sentence(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    detail = problem(exchange(port, head))["detail"]
    assert detail == "Transfer-Encoding requested is not supported."


def test_a_client_that_waits_for_100_continue_gets_it(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
            b"Content-Length: 5\r\nConnection: close\r\n\r\n"
        )
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hello")
        response = b"".join(iter(lambda: client.recv(65536), b""))
    assert response.endswith(b"\r\n\r\nhello")


def test_http_1_0_gets_a_length_and_keeps_the_connection_on_request(port: int) -> None:
    ask = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    assert exchange(port, ask, ask).count(b"Content-Length: 7\r\n") == 2
    assert exchange(port, b"GET / HTTP/1.0\r\n\r\n", ask).count(b"HTTP/1.0 200") == 1


def test_a_chunked_body_reaches_django_with_its_length(port: int, echo: Echo) -> None:
    response = exchange(
        port,
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        b"Connection: close\r\n\r\n",
        b"3\r\nabc\r\n",
        b"2;name=value\r\nde\r\n0\r\n\r\n",
    )
    assert response.endswith(b"\r\n\r\nabcde")
    (environ,) = echo.seen
    assert environ["CONTENT_LENGTH"] == "5"
    assert "HTTP_TRANSFER_ENCODING" not in environ


@pytest.mark.parametrize(
    "value",
    ["", "x", "-1", "+5", "5.0", "5, 5", "5 5", "0x5", "1_0", "\xb2", "\u0665", "5;q=1"],
)  # fmt: skip
def test_a_malformed_content_length_is_refused(
    port: int, echo: Echo, value: str
) -> None:
    ask = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {value}\r\n\r\nhello"
    document = problem(exchange(port, ask.encode()))
    assert document["code"] == "malformed"
    assert document["detail"] == "Content-Length is invalid."
    assert echo.seen == []


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("HTTP/1.1\r\nTransfer-Encoding: gzip", b""),
        ("HTTP/1.1\r\nTransfer-Encoding: gzip, chunked", b"0\r\n\r\n"),
        ("HTTP/1.1\r\nTransfer-Encoding: xchunked", b"0\r\n\r\n"),
        ("HTTP/1.0\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
        ("HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", b"0\r\n\r\n"),
        ("HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6", b"hello"),
        ("HTTP/1.1\r\nTransfer-Encoding: chunked", b"x\r\n"),
        ("HTTP/1.1\r\nTransfer-Encoding: chunked", b"-1\r\n"),
        ("HTTP/1.1\r\nTransfer-Encoding: chunked", b"1\r\nabc\r\n0\r\n\r\n"),
        ("HTTP/1.1\r\nbad header", b""),
        ("HTTP/1.1\r\nName : x", b""),
        ("HTTP/1.1\r\nX: a\rb", b""),
        ("HTTP/1.1\r\nX: " + "a" * 300_000, b""),
        ("HTTP/x", b""),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(
    port: int, echo: Echo, head: str, body: bytes
) -> None:
    response = exchange(port, f"POST / {head}\r\nHost: x\r\n\r\n".encode() + body)
    assert problem(response)["code"] == "malformed"
    assert echo.seen == []


@pytest.mark.parametrize(
    "sent",
    [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"POST / HTTP/1.1\r\nHost",
    ],
)
def test_a_request_that_ends_before_its_length_is_refused(
    port: int, echo: Echo, sent: bytes
) -> None:
    document = problem(exchange(port, sent))
    assert document["code"] == "malformed"
    assert document["detail"] == "The request ended before its length was reached."
    assert echo.seen == []


def test_a_request_that_does_not_go_on_is_refused(
    echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.0)
    monkeypatch.setattr(http_server, "CLEANUP_SECONDS", 0)
    with (
        serving(echo) as port,
        socket.create_connection(("127.0.0.1", port), SECONDS) as client,
    ):
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhi")
        response = b"".join(iter(lambda: client.recv(65536), b""))
    assert problem(response)["detail"] == "Nothing came for 0 s."
    assert echo.seen == []


def test_a_body_above_every_limit_is_a_problem(port: int, echo: Echo) -> None:
    length = http_server.MOST_BODY_BYTES
    ask = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
    document = problem(exchange(port, ask.encode()), 413)
    assert document["code"] == "too_large"
    assert document["detail"] == f"The body exceeds max_body of {length}."
    assert echo.seen == []


def test_a_client_that_sends_on_reads_why_it_was_refused(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n"
    response = exchange(port, head + b"x" * 500_000, b"x" * 500_000)
    assert problem(response)["detail"] == "Content-Length is invalid."


def test_what_a_client_sent_is_in_no_log_line(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    ask = b"GET / HTTP/1.1\r\nAuthorization: Bearer secret\rX: y\r\n\r\n"
    assert b"secret" not in exchange(port, ask)
    assert "A request was refused: Bare CR or LF found in header line" in caplog.text
    assert "secret" not in caplog.text


HEADERS = [
    ("Accept", "application/json"), ("X-Request-Id", "a"), ("Idempotency-Key", "k1"),
    ("x-request-id", "b"), ("Idempotency-Key", "k2"), ("If-Match", '"1"'),
    ("If-Match", '"2"'), ("Content-Type", "application/json"), ("Content-Type", "a/b"),
    ("Authorization", "Bearer x"), ("Authorization", "Bearer y"),
]  # fmt: skip


def test_repeated_headers_reach_django_as_on_lambda(port: int, echo: Echo) -> None:
    several: dict[str, list[str]] = {}
    for name, value in HEADERS:
        several.setdefault(name.title(), []).append(value)
    event = {
        "httpMethod": "POST",
        "path": "/",
        "headers": {name: values[-1] for name, values in several.items()},
        "multiValueHeaders": several,
        "requestContext": {},
        "body": "hello",
    }
    on_lambda = create_wsgi_request(event)
    lines = "".join(f"{name}: {value}\r\n" for name, value in HEADERS)
    head = f"POST / HTTP/1.1\r\nHost: x\r\n{lines}Content-Length: 5\r\n\r\n"
    assert b" 200 OK" in exchange(port, head.encode() + b"hello")
    names = {"HTTP_" + name.upper().replace("-", "_") for name in several}
    names = names - {"HTTP_CONTENT_TYPE"} | {"CONTENT_TYPE", "CONTENT_LENGTH"}
    (here,) = echo.seen
    assert {name: here[name] for name in names} == {
        name: on_lambda[name] for name in names
    }
    assert here["HTTP_IDEMPOTENCY_KEY"] == "k1, k2"


def test_a_response_that_breaks_off_is_seen_by_the_client(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    client.request("GET", "/broken")
    with pytest.raises(http.client.IncompleteRead) as caught:
        client.getresponse().read()
    client.close()
    assert caught.value.partial == b"one\n"
    with socket.create_connection(("127.0.0.1", port), SECONDS) as old:
        old.sendall(b"GET /broken HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            list(iter(lambda: old.recv(65536), b""))
    assert caplog.text.count("A response failed") == 2
    assert "/broken" not in caplog.text


def test_a_response_that_never_begins_is_a_problem(port: int) -> None:
    response = exchange(port, b"GET /broken-at-once HTTP/1.1\r\nHost: x\r\n\r\n")
    assert problem(response, 500)["code"] == "internal_error"


def test_a_slow_request_delays_no_other(port: int, echo: Echo) -> None:
    slow = [
        http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        for _ in range(40)
    ]
    for client in slow:
        client.request("GET", "/slow")
    assert b" 200 OK" in exchange(port, b"GET / HTTP/1.0\r\n\r\n")
    echo.release.set()
    assert {client.getresponse().read() for client in slow} == {b"nothing"}
    for client in slow:
        client.close()


def test_a_thread_that_is_idle_ends_and_gives_its_database_connection_back(
    echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "IDLE_SECONDS", 0.01)
    closed: list[int] = []
    monkeypatch.setattr(
        connections,
        "close_all",
        lambda: closed.append(threading.get_ident()),
    )
    used: list[int] = []

    def application(environ: Environ, start_response: Callable[..., Any]) -> Any:
        used.append(threading.get_ident())
        return echo(environ, start_response)

    with serving(application) as port:
        for number in range(1, 4):
            assert b" 200 OK" in exchange(port, b"GET / HTTP/1.0\r\n\r\n")
            deadline = time.monotonic() + SECONDS
            while len(closed) < number:
                assert time.monotonic() < deadline
                time.sleep(0.005)
        assert closed == used


def test_many_clients_may_connect_at_once(port: int) -> None:
    clients = [
        socket.create_connection(("127.0.0.1", port), SECONDS) for _ in range(200)
    ]
    for client in clients:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
    for client in clients:
        with client:
            assert b" 200 OK" in client.recv(65536)


def test_without_threads_it_serves_all_the_same(echo: Echo) -> None:
    with serving(echo, Server) as port:
        for _ in range(3):
            assert b" 200 OK" in exchange(port, b"GET / HTTP/1.0\r\n\r\n")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("host", ["", "Host: rebound.example\r\n", "Host: x\r\nHost: y\r\n"])  # fmt: skip
def test_a_request_without_the_hosts_name_is_refused_by_django(
    version: str, host: str
) -> None:
    ask = f"GET /health/live HTTP/{version}\r\n{host}Connection: close\r\n\r\n"
    with serving(get_internal_wsgi_application()) as port:
        response = exchange(port, ask.encode())
        named = ask.replace("Connection", f"Host: 127.0.0.1:{port}\r\nConnection")
        assert host or b" 200 OK" in exchange(port, named.encode())
    assert b" 400 Bad Request" in response
    assert json.loads(response.partition(b"\r\n\r\n")[2])["code"] == "host_not_allowed"


def test_the_api_reads_a_chunked_body_like_any_other() -> None:
    with serving(get_internal_wsgi_application()) as port:
        response = exchange(
            port,
            f"POST /users HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            '9\r\n{"name": \r\n3\r\n""}\r\n0\r\n\r\n'.encode(),
        )
    document = json.loads(response.partition(b"\r\n\r\n")[2])
    assert document["code"] == "invalid"
    assert {error["pointer"] for error in document["errors"]} == {"/name", "/email"}


def test_the_server_is_no_part_of_the_lambda_package() -> None:
    for lock in ("runtime", "deploy"):
        assert "waitress" not in (PROJECT / f"requirements/{lock}.txt").read_text()
    assert "waitress==" in (PROJECT / "requirements/dev.txt").read_text()
