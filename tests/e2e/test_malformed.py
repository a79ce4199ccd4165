"""Whatever is sent, the answer is never a server error and never shows a traceback."""

import io
import json
import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from config.wsgi import application
from tests.users.test_api import ADA

REQUESTS = int(os.environ.get("MALFORMED_REQUESTS", "1000"))
UUID = "6f1c0a3e-3f7e-4d57-9a53-0f3d8a3a1b11"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X", ""]
PATHS = ["/", "/users", "/users/" + UUID, "/users/import", "/users/export", "/health",
         "/health/live", "/openapi.json", "/problems"]  # fmt: skip
TYPES = ["application/json", "application/merge-patch+json", "application/x-ndjson",
         "multipart/form-data; boundary=", "application/json; charset=\xff", ";", "", "text/*"]  # fmt: skip
NAMES = ["limit", "cursor", "email", "name_prefix", "created_from", "created_to", "x"]
HEADERS = ["IF_MATCH", "IF_NONE_MATCH", "IDEMPOTENCY_KEY", "ACCEPT", "AUTHORIZATION",
           "ORIGIN", "HOST", "X_FORWARDED_HOST", "TRANSFER_ENCODING", "COOKIE",
           "X_HTTP_METHOD_OVERRIDE", "X_REQUEST_ID", "TRACEPARENT", "EXPECT", "RANGE"]  # fmt: skip
BODIES = [
    b"", b"{", b"null", b"[]", b'"x"', b"1e999", b'{"name":1e999}', b"\xef\xbb\xbf{}",
    b"[" * 30_000, b'{"a":' * 30_000, b'{"name":"\\ud800","email":"a@b.cd"}', b"\xff\xfe",
    b'{"name":"a","name":"b","email":"a@b.cd"}', b'{"__proto__":{},"":""}', b"\x00" * 99,
    b'{"email":' + b"9" * 5000 + b"}", b"\r\n\r\n", b"a=1&b=2", b"--x\r\n",
    json.dumps({**ADA, "email": "a" * 60_000}).encode(), json.dumps(ADA).encode()[:-1],
]  # fmt: skip
WORDS = ["", "0", "-1", "1e9", "9" * 400, "9" * 4400, "\xb2", "null", "'", '"', "%00", "\x00", "\xff", "*",
         "W/", '""', "../..", "{}", "[]", "a" * 9000, "\u0661", "\ud7ff", "2026-11-24T00:00:00",
         "9999-12-31T23:59:59-23:59", "' OR 1=1 --", "${jndi:x}", "<script>", "%", "%zz",
         "eyJhbGciOiJub25lIn0.e30.", "Bearer", "Bearer ", "=", "&&", ";q=", "text/html;q=x"]  # fmt: skip


def latin(text: str) -> str:
    """As a WSGI server hands text over."""
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def malformed(chance: random.Random) -> dict[str, Any]:
    word: Callable[[], str] = lambda: latin(chance.choice(WORDS))  # noqa: E731
    path = chance.choice(PATHS) + (word() if chance.random() < 0.3 else "")
    query = "&".join(
        f"{chance.choice(NAMES)}={word()}" for _ in range(chance.randrange(4))
    )
    body = bytearray(chance.choice(BODIES))
    if body and chance.random() < 0.5:
        body[chance.randrange(len(body))] = chance.randrange(256)
    length = str(len(body)) if chance.random() < 0.9 else word()
    headers = {f"HTTP_{name}": word() for name in chance.sample(HEADERS, 2)}
    return {
        "REQUEST_METHOD": chance.choice(METHODS),
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": latin(chance.choice(TYPES)),
        "CONTENT_LENGTH": length,
        "SERVER_NAME": "testserver",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(bytes(body)),
        "wsgi.errors": io.StringIO(),
        **headers,
    }


@pytest.mark.e2e
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("auth", ["none", "oidc"])
def test_malformed_requests_are_never_server_errors(auth: str, settings: Any) -> None:
    settings.API_AUTH = auth
    chance = random.Random(2026)  # noqa: S311 - requests that can be repeated
    statuses = set()
    for _ in range(REQUESTS):
        environ = malformed(chance)
        answered: list[str] = []
        parts = application(environ, lambda status, *_: answered.append(status))  # noqa: B023
        content = b"".join(parts)
        status = int(answered[0][:3])
        statuses.add(status)
        assert status < 500, (environ, content)
        assert b"Traceback" not in content
        if status >= 400 and environ["REQUEST_METHOD"] != "HEAD":
            problem = json.loads(content)
            assert problem["status"] == status
            assert set(problem) >= {"type", "title", "code", "detail"}
    assert {200, 404, 405, 400 if auth == "none" else 401} <= statuses
