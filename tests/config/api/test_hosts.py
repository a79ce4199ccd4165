"""Which names the API answers to, whoever asks and whatever is asked."""

import json
import socket
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.servers.basehttp import get_internal_wsgi_application
from django.test import Client

from tests.ops.local.raw_http import serving
from tests.regions import region_server
from tests.users.test_api import ADA, send
from users.models import User

REBOUND = "rebound.example.com"


@pytest.fixture(scope="module")
def server(django_db_setup: None, django_db_blocker: Any) -> Iterator[int]:
    """The port of the API on loopback."""
    with django_db_blocker.unblock(), region_server("default") as url:
        yield int(urllib.parse.urlsplit(url).port or 0)


def ask(port: int, request: str) -> tuple[int, dict[str, Any]]:
    """Status and body of a request that is written by hand."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request.encode())
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_the_server_of_this_machine_is_no_name_for_what_omits_one() -> None:
    with serving(get_internal_wsgi_application()) as port:
        for request in ("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"):
            status, body = ask(port, request)
            assert (status, body["code"]) == (400, "host_not_allowed")
        assert ask(port, "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")[0] == 200


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_request_without_a_host_is_refused(server: int, version: str) -> None:
    status, body = ask(server, f"GET /health/live HTTP/{version}\r\n\r\n")
    assert (status, body["code"]) == (400, "host_not_allowed")


def test_loopback_names_need_no_listing_on_loopback(server: int) -> None:
    for host in ("127.0.0.1", f"localhost:{server}", "LOCALHOST:1", "[::1]:8000"):
        request = f"GET /health/live HTTP/1.1\r\nHost: {host}\r\n\r\n"
        assert ask(server, request)[0] == 200, host


def test_of_two_hosts_none_counts(server: int) -> None:
    for first, second in (("localhost", REBOUND), (REBOUND, "localhost")):
        request = (
            f"GET /health/live HTTP/1.1\r\nHost: {first}\r\nHost: {second}\r\n\r\n"
        )
        assert ask(server, request)[0] == 400


@pytest.mark.django_db
@pytest.mark.parametrize("address", ["192.0.2.7", "", "127.0.0.1.example.com"])
def test_a_loopback_name_is_refused_to_whoever_is_elsewhere(
    client: Client, address: str
) -> None:
    answer = client.get("/health/live", HTTP_HOST="localhost", REMOTE_ADDR=address)
    assert answer.status_code == 400


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/health"), ("GET", "/health/live"), ("GET", "/openapi.json"),
     ("GET", "/problems"), ("GET", "/users"), ("GET", "/users/export"), ("HEAD", "/users"),
     ("POST", "/users"), ("POST", "/users/import"), ("OPTIONS", "/users"),
     ("GET", "/nothing"), ("TRACE", "/users")],
)  # fmt: skip
def test_nothing_is_served_to_a_rebound_name(
    client: Client, method: str, path: str, django_assert_num_queries: Any
) -> None:
    headers = {"origin": f"http://{REBOUND}:8000", "host": f"{REBOUND}:8000"}
    with django_assert_num_queries(0):
        answer = send(client, method, path, ADA, headers=headers)
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in answer
    assert method == "HEAD" or answer.json()["code"] == "host_not_allowed"
    assert User.objects.count() == 0


@pytest.mark.django_db
def test_a_forwarded_host_does_not_count(client: Client) -> None:
    forwarded: dict[str, Any] = {
        "HTTP_X_FORWARDED_HOST": "testserver",
        "HTTP_HOST": REBOUND,
    }
    assert client.get("/health/live", **forwarded).status_code == 400
    forwarded = {"HTTP_X_FORWARDED_HOST": REBOUND, "HTTP_HOST": "testserver"}
    assert client.get("/health/live", **forwarded).status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize(
    "host",
    ["", " ", "api.example.com@evil.example.com", "api.example.com/", "api.example.com:x",
     "api.example.com,evil.example.com", "api.example.com evil.example.com", "ap\u0131.example.com",
     "api.example.com:80:80", "api.example.com#", "api.example.com.evil.example.com",
     "evilapi.example.com", "sub.api.example.com", "[::1", "[api.example.com]", "a" * 70_000,
     "127.0.0.2", "0", "localhost.example.com", "127.1", "2130706433"],
)  # fmt: skip
def test_a_host_that_is_malformed_or_unlisted_is_refused(
    client: Client, settings: Any, host: str
) -> None:
    settings.ALLOWED_HOSTS = ["api.example.com"]
    assert client.get("/health/live", HTTP_HOST=host).status_code == 400


@pytest.mark.django_db
@pytest.mark.parametrize(
    "host",
    ["api.example.com", "API.example.com:443", "api.example.com.", "a.b.example.org"],
)
def test_a_listed_name_is_served(client: Client, settings: Any, host: str) -> None:
    settings.ALLOWED_HOSTS = ["api.example.com", ".example.org"]
    assert client.get("/health/live", HTTP_HOST=host).status_code == 200
