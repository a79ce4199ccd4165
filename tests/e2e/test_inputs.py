"""What is refused, over a socket: the server of this machine with the whole API behind it."""

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections

from config.wsgi import application
from tests.ops.local.raw_http import exchange, serving
from tests.users.test_api import ADA
from users.models import User

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]
BODY = json.dumps(ADA).encode()
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
LENGTH = f"Content-Length: {len(BODY)}"


@pytest.fixture
def port() -> Iterator[int]:
    def closing(environ: Any, start_response: Any) -> Any:
        response = application(environ, start_response)
        connections["default"].close()  # this thread's, which ends with the test
        return response

    with serving(closing) as port:
        yield port


def post(
    port: int, body: bytes, *headers: str, path: str = "/users"
) -> tuple[int, Any]:
    lines = ["Host: 127.0.0.1", "Content-Type: application/json", *headers]
    head = "\r\n".join([f"POST {path} HTTP/1.1", *lines, "", ""])
    response = exchange(port, head.encode() + body)
    start, _, content = response.partition(b"\r\n\r\n")
    return int(start.split(b" ", 2)[1]), json.loads(content)


def test_a_chunked_body_is_decoded(port: int) -> None:
    status, user = post(port, CHUNKED, "Transfer-Encoding: chunked")
    assert (status, user["name"]) == (201, ADA["name"])
    assert User.objects.get().name == ADA["name"]


@pytest.mark.parametrize(
    ("body", "headers", "path", "status"),
    [
        (BODY, ["Content-Length: 1e3"], "/users", 400),
        (BODY, ["Content-Length: -1"], "/users", 400),
        (BODY, [LENGTH, LENGTH], "/users", 400),
        (BODY, [f"Content-Length: {len(BODY) + 1}"], "/users", 400),
        (BODY, [LENGTH, "Content-Type: application/json"], "/users", 400),
        (BODY, [LENGTH, "Idempotency-Key: a", "Idempotency-Key: b"], "/users", 400),
        (BODY, [LENGTH, "Content-Encoding: gzip"], "/users", 415),
        (BODY, [LENGTH, "If-None-Match: *"], "/users", 400),
        (BODY, [LENGTH], "/users?dry_run=1", 400),
    ],
)
def test_what_nothing_honours_is_refused(
    port: int, body: bytes, headers: list[str], path: str, status: int
) -> None:
    found, problem = post(port, body, *headers, path=path)
    assert (found, problem["status"]) == (status, status)
    assert problem["detail"]
    assert not User.objects.exists()


def test_head_of_a_stream_leaves_the_connection_to_the_next_request(port: int) -> None:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for method in ("HEAD", "GET", "HEAD"):
        client.request(method, "/users/export")
        response = client.getresponse()
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/x-ndjson"
        assert (response.read() == b"") == (method == "HEAD")
    client.close()
