"""What a request may carry: nothing is ignored silently."""

import io
import json
import uuid
from typing import Any

import pytest
from django.core.signals import request_started
from django.db import close_old_connections
from django.test import Client

from config.api.pages import CONTRACT
from config.on_lambda.events import build_environ
from config.wsgi import application
from tests.users.test_api import ADA, create, send
from users.models import User

pytestmark = pytest.mark.django_db
USER = f"/users/{uuid.UUID(int=1)}"
NDJSON = "application/x-ndjson"
# Every method of every route, with the body it takes.
ROUTES: list[tuple[str, str, Any]] = [
    *(("GET", path, b"") for path in (
        "/", "/health", "/health/live", "/openapi.json", "/problems", "/users",
        "/users/export", USER,
    )),
    ("POST", "/users", ADA), ("POST", "/users/import", ADA), ("PUT", USER, ADA),
    ("PATCH", USER, ADA), ("DELETE", USER, b""),
]  # fmt: skip
ROUTES += [("HEAD", path, b"") for method, path, _ in ROUTES if method == "GET"]
IDS = [f"{method} {path.replace(USER, '/users/id')}" for method, path, _ in ROUTES]
every_route = pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=IDS)


def ask(method: str, path: str, body: Any = b"", **headers: str) -> Any:
    kind = NDJSON if path.startswith("/users/import") else "application/json"
    meta = {"content_type": kind, **headers}
    return send(Client(raise_request_exception=False), method, path, body, **meta)


def refused(response: Any, code: str = "malformed", status: int = 400) -> str:
    """The detail of the problem; the status alone, for HEAD."""
    assert response.status_code == status, response.content
    if not response.content:
        return ""
    assert response.json()["code"] == code
    return str(response.json()["detail"])


@every_route
def test_an_unknown_parameter_is_refused_by_name(
    method: str, path: str, body: Any
) -> None:
    response = ask(method, f"{path}?colour=blue", body)
    if method == "HEAD":
        assert response.status_code == 400
    else:
        assert "colour" in refused(response, "invalid_parameter")
        assert response.json()["errors"][0]["parameter"] == "colour"
    assert not User.objects.exists()


@pytest.mark.parametrize("query", ["limit=1", "cursor=x", "email=a%40b.cd"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [route for route in ROUTES if route[1] not in {"/users", "/users/export"}]
    + [("POST", "/users", ADA)],
)
def test_a_parameter_is_known_only_where_it_is_honoured(
    method: str, path: str, body: Any, query: str
) -> None:
    assert ask(method, f"{path}?{query}", body).status_code == 400


def test_options_knows_the_parameters_of_every_method() -> None:
    assert ask("OPTIONS", "/users?limit=1&name_prefix=a").status_code == 204
    assert ask("OPTIONS", "/users?colour=blue").status_code == 400
    assert ask("OPTIONS", f"{USER}?limit=1").status_code == 400


def test_a_method_that_is_not_known_is_405_whatever_is_sent() -> None:
    for path, method in (("/users", "DELETE"), ("/health", "POST"), (USER, "QUERY")):
        response = ask(method, f"{path}?colour=blue", HTTP_IDEMPOTENCY_KEY="k")
        assert response.status_code == 405


@pytest.mark.parametrize(
    "query", ["email=%ff", "limit=1&%80=x", "email=\xff", "limit=" + "1" * 9000]
)
def test_a_query_that_is_not_utf_8_or_too_long_is_refused(query: str) -> None:
    response = Client().get("/users", QUERY_STRING=query)
    assert "query" in refused(response)


@every_route
def test_a_key_is_refused_where_nothing_remembers_it(
    method: str, path: str, body: Any
) -> None:
    response = ask(method, path, body, HTTP_IDEMPOTENCY_KEY="k1")
    if (method, path) == ("POST", "/users"):
        assert response.status_code == 201
    elif method == "HEAD":
        assert response.status_code == 400
    else:
        assert "Idempotency-Key" in refused(response)
        assert not User.objects.exists()


@every_route
@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
def test_a_condition_is_refused_where_nothing_has_a_version(
    header: str, method: str, path: str, body: Any
) -> None:
    name = f"HTTP_{header.upper().replace('-', '_')}"
    response = ask(method, path, body, **{name: '"5f3a"'})
    if path == USER:
        assert response.status_code == 404
    elif method == "HEAD":
        assert response.status_code == 400
    else:
        assert f"{header} is not honoured" in refused(response)
    assert not User.objects.exists()
    assert ask("OPTIONS", "/users", **{name: "*"}).status_code == 204


@pytest.mark.parametrize(
    "header",
    [
        "If-Unmodified-Since",
        "Content-Range",
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
    ],
)
def test_a_header_that_would_change_the_meaning_is_refused(header: str) -> None:
    user = create(Client())
    name = f"HTTP_{header.upper().replace('-', '_')}"
    path = f"/users/{user['id']}"
    for method, where, body in (
        ("PATCH", path, {"name": "x"}),
        ("POST", "/users", ADA),
    ):
        assert header in refused(ask(method, where, body, **{name: "x"}))
    assert User.objects.get().name == ADA["name"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [route for route in ROUTES if route[0] in {"POST", "PUT", "PATCH"}],
)
def test_a_coded_body_is_refused_unread(method: str, path: str, body: Any) -> None:
    for coding in ("gzip", "br", "gzip, identity", "identity, identity", "x"):
        response = ask(method, path, body, HTTP_CONTENT_ENCODING=coding)
        assert "Content-Encoding" in refused(response, "unsupported_media_type", 415)
        assert response["Accept-Encoding"] == "identity"
    assert not User.objects.exists()
    response = ask(method, path, body, HTTP_CONTENT_ENCODING="Identity")
    assert response.status_code in {200, 201, 404}


@pytest.mark.parametrize(
    "charset",
    [
        "latin-1",
        "utf-16",
        "utf-7",
        '"ISO-8859-1"',
        "",
        "x''y",
        "utf-8; charset=latin-1",
    ],
)
def test_another_charset_is_refused(charset: str) -> None:
    kind = f"application/json; charset={charset}"
    response = ask("POST", "/users", ADA, content_type=kind)
    assert "UTF-8" in refused(response, "unsupported_media_type", 415)


@pytest.mark.parametrize(
    "kind", ["application/json; charset=UTF-8", 'application/json;Charset="utf-8"',
             "application/json; charset=us-ascii", "APPLICATION/JSON ; profile=x;"],
)  # fmt: skip
def test_utf_8_may_be_named(kind: str) -> None:
    assert ask("POST", "/users", ADA, content_type=kind).status_code == 201


LENGTHS = ["\xb2", "-1", "+5", "1e3", "0x10", "5, 5", "5,5", " 5", "5_0", "five", "1.0"]


@every_route
@pytest.mark.parametrize("length", LENGTHS)
def test_a_length_that_is_none_is_refused(
    length: str, method: str, path: str, body: Any
) -> None:
    response = ask(method, path, body, CONTENT_LENGTH=length)
    assert response.status_code == 400
    if method != "HEAD":
        assert "Content-Length" in refused(response)


@pytest.mark.parametrize("length", ["9" * 5000, "65537", "0" * 5000 + "65537"])
def test_a_length_that_is_too_large_is_refused_unread(length: str) -> None:
    refused(ask("POST", "/users", ADA, CONTENT_LENGTH=length), "too_large", 413)


def environ(method: str, path: str, sent: bytes, **meta: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "",
        "SERVER_NAME": "testserver", "SERVER_PORT": "80", "wsgi.url_scheme": "http",
        "HTTP_HOST": "testserver", "wsgi.input": io.BytesIO(sent), **meta,
    }  # fmt: skip


def respond(asked: dict[str, Any], app: Any = application) -> tuple[int, bytes]:
    begun: list[str] = []
    # As Django's test client: the test's connection outlives the request.
    request_started.disconnect(close_old_connections)
    try:
        content = b"".join(app(asked, lambda status, *_: begun.append(status)))
    finally:
        request_started.connect(close_old_connections)
    return int(begun[0][:3]), content


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [("POST", "/users", "application/json"), ("POST", "/users/import", NDJSON),
     ("PUT", USER, "application/json"), ("PATCH", USER, "application/merge-patch+json")],
)  # fmt: skip
def test_a_body_that_ends_early_is_refused_even_where_it_can_be_read(
    method: str, path: str, kind: str
) -> None:
    body = json.dumps(ADA).encode() + b"\n"
    for came, announced in ((body, len(body) + 1), (body, 60_000), (b"", 9)):
        meta = {"CONTENT_TYPE": kind, "CONTENT_LENGTH": str(announced)}
        status, content = respond(environ(method, path, came, **meta))
        assert (status, json.loads(content)["code"]) == (400, "malformed")
        assert f"announces {announced} bytes" in json.loads(content)["detail"]
    assert not User.objects.exists()


class Broken(io.BytesIO):
    def read(self, *_: Any) -> bytes:
        raise OSError("connection reset")


def test_a_body_that_breaks_off_is_refused() -> None:
    meta = {"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "60"}
    asked = environ("POST", "/users", b"", **meta) | {"wsgi.input": Broken()}
    status, content = respond(asked)
    assert (status, json.loads(content)["code"]) == (400, "malformed")


def test_a_body_without_a_length_is_411() -> None:
    body = b"5\r\nhello\r\n0\r\n\r\n"
    meta = {"CONTENT_TYPE": "application/json", "HTTP_TRANSFER_ENCODING": "chunked"}
    for method, path in (("POST", "/users"), ("PUT", USER), ("POST", "/users/import")):
        status, content = respond(environ(method, path, body, **meta))
        assert (status, json.loads(content)["code"]) == (411, "length_required")


REPEATED = [
    ("POST", "/users", "Content-Type", "application/json", 400),
    ("POST", "/users", "Idempotency-Key", "k1", 400),
    ("POST", "/users", "Content-Encoding", "identity", 415),
    ("POST", "/users", "Authorization", "Bearer x", 400),
    ("GET", USER, "If-Match", "*", 400),
    ("GET", USER, "If-Match", '"5f3a"', 404),  # a list may be sent in parts
]


@pytest.mark.parametrize(("method", "path", "name", "value", "status"), REPEATED)
def test_a_header_sent_twice_gets_the_same_response_here_and_on_lambda(
    method: str, path: str, name: str, value: str, status: int
) -> None:
    body = json.dumps(ADA) if method == "POST" else ""
    headers = {
        "Content-Type": ["application/json"],
        "Host": ["testserver"],
        name: [value] * 2,
    }
    event = {
        "httpMethod": method, "path": path, "body": body, "isBase64Encoded": False,
        "headers": {key: values[-1] for key, values in headers.items()},
        "multiValueHeaders": headers, "multiValueQueryStringParameters": None,
        "resource": "/{proxy+}", "pathParameters": {"proxy": path[1:]},
        "requestContext": {"path": path, "domainName": "testserver"},
    }  # fmt: skip
    meta = {
        f"HTTP_{key.upper().replace('-', '_')}": ", ".join(values)
        for key, values in headers.items()
    }
    meta["CONTENT_TYPE"] = meta.pop("HTTP_CONTENT_TYPE")
    here = environ(method, path, body.encode(), CONTENT_LENGTH=str(len(body)), **meta)
    first = respond(here)
    assert first == respond(build_environ(event, None))
    assert first[0] == status
    assert not User.objects.exists()


@pytest.mark.parametrize(
    "accept", ["a/b;x=" + "1" * 1000, "a/b; charset*=foo''bar", "," * 1001]
)
def test_an_accept_that_cannot_be_read_is_refused(accept: str) -> None:
    assert "Accept" in refused(Client().get("/", HTTP_ACCEPT=accept))


def test_a_bodys_charset_decides_nothing_but_the_body() -> None:
    """Django would decode the query by it, and raise for one it does not know."""
    for charset in ("utf-16", "foo''bar", "*"):
        kind = f"application/json; charset={charset}; charset*={charset}"
        asked = environ("GET", "/users", b"", CONTENT_TYPE=kind)
        asked["QUERY_STRING"] = "name_prefix=Ad"
        assert respond(asked)[0] == 200


def test_a_path_of_any_length_is_read_in_no_time_and_not_found() -> None:
    for path in ("/" + "\xff" * 60_000, "/users/" + "x" * 60_000, USER + "/" * 5000):
        assert respond(environ("GET", path, b""))[0] == 404


@every_route
def test_a_length_beyond_the_bound_gets_a_response_of_the_contract(
    method: str, path: str, body: Any
) -> None:
    response = ask(method, path, body, CONTENT_LENGTH="9" * 30)
    paths = json.loads(CONTRACT.read_text())["paths"]
    documented = paths[path.replace(USER, "/users/{user_id}")]
    described = documented["get" if method == "HEAD" else method.lower()]["responses"]
    assert response.status_code == (413 if path.startswith("/users") else 200)
    assert str(response.status_code) in described
