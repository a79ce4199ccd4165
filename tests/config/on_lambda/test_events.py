"""API Gateway's events as requests, and responses as API Gateway takes them."""

import base64
import io
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from django.core.signals import request_started
from django.db import close_old_connections
from django.http import StreamingHttpResponse
from django.test import override_settings

from config.on_lambda import handler
from config.on_lambda.events import build_environ, build_response, split_path
from config.telemetry.middleware import TelemetryMiddleware

API = "abc123.execute-api.us-east-1.amazonaws.com"
CONTEXT = SimpleNamespace(aws_request_id="a-request")


def event(
    host: str, seen: str, path: str, proxy: str | None, **headers: str
) -> dict[str, Any]:
    """As API Gateway sends it: ``seen`` is what the caller asked for."""
    return {
        "resource": "/{proxy+}" if proxy is not None else "/",
        "path": path,
        "httpMethod": "GET",
        "headers": {"Host": host, **headers},
        "multiValueHeaders": {"Host": [host], **{k: [v] for k, v in headers.items()}},
        "multiValueQueryStringParameters": None,
        "pathParameters": None if proxy is None else {"proxy": proxy},
        "requestContext": {
            "path": seen,
            "stage": "prod",
            "domainName": host,
            "identity": {"sourceIp": "192.0.2.7"},
        },
        "body": None,
        "isBase64Encoded": False,
    }


@pytest.fixture(autouse=True)
def connections_stay() -> Iterator[None]:
    """As Django's test client: the database is none of these tests' business."""
    request_started.disconnect(close_old_connections)
    with override_settings(ALLOWED_HOSTS=[]):
        yield
    request_started.connect(close_old_connections)


def get(asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Status and body."""
    response = handler.lambda_handler(asked, CONTEXT)
    return response["statusCode"], json.loads(response["body"])


@pytest.mark.parametrize(
    ("seen", "path", "proxy", "mount"),
    [
        ("/prod/", "/", None, "/prod"),
        ("/prod", "/", None, "/prod"),
        ("/prod/health/live", "/health/live", "health/live", "/prod"),
        ("/primary/health/live", "/health/live", "health/live", "/primary"),
        ("/health/live", "/health/live", "health/live", ""),
        ("/", "/", None, ""),
        # A domain's base path is in both paths; only the parameter is without it.
        ("/v1/health/live", "/v1/health/live", "health/live", "/v1"),
        ("/v1", "/v1", None, "/v1"),
        ("/prod/caf%C3%A9", "/café", "café", "/prod"),
        ("/prod/users/", "/users/", "users", "/prod"),
    ],
)
def test_the_mount_is_what_stands_before_the_path(
    seen: str, path: str, proxy: str | None, mount: str
) -> None:
    found, inside = split_path(event(API, seen, path, proxy))
    assert found == mount
    assert inside.rstrip("/") == ("/" + (proxy or "")).rstrip("/")


@pytest.mark.parametrize(
    ("host", "seen", "path", "prefix"),
    [
        (API, "/prod/", "/", "/prod"),
        (API, "/primary/", "/", "/primary"),
        ("api.example.com", "/", "/", ""),
        ("api.example.com", "/v1", "/v1", "/v1"),
    ],
)
def test_links_keep_the_stage_or_the_domain_of_the_caller(
    host: str, seen: str, path: str, prefix: str
) -> None:
    status, body = get(event(host, seen, path, None))
    assert status == 200
    assert body["links"]["users"] == f"{prefix}/users"
    assert body["links"]["health"] == f"{prefix}/health"


def test_the_clients_address_is_api_gateways_not_what_the_client_says() -> None:
    asked = event(
        API, "/prod/", "/", None, **{"X-Forwarded-For": "10.9.9.9, 10.8.8.8, 192.0.2.7"}
    )
    assert build_environ(asked, None)["REMOTE_ADDR"] == "192.0.2.7"


@pytest.mark.parametrize(
    "host", [API, API.upper(), f"{API}:443", "api.example.com", "API.Example.com."]
)
def test_the_names_that_api_gateway_routes_by_need_no_listing(host: str) -> None:
    asked = event(host, "/prod/health/live", "/health/live", "health/live")
    asked["requestContext"]["domainName"] = (
        host.lower().removesuffix(":443").removesuffix(".")
    )
    assert get(asked)[0] == 200


@pytest.mark.parametrize(
    ("host", "routed"),
    [("other42.execute-api.us-east-1.amazonaws.com", API), (f"{API}.example.com", API),
     ("rebound.example.com", API), (API, None), (API, ""), (None, API), ("", API),
     ("localhost", API), ("127.0.0.1", API), ("zappa", API)],
)  # fmt: skip
def test_another_name_is_refused(host: str | None, routed: str | None) -> None:
    asked = event(str(host), "/prod/users", "/users", "users")
    asked["requestContext"]["domainName"] = routed
    if host is None:
        del asked["headers"]["Host"], asked["multiValueHeaders"]["Host"]
    status, body = get(asked)
    assert (status, body["code"]) == (400, "host_not_allowed")


def test_an_unknown_path_is_a_problem() -> None:
    status, body = get(event(API, "/prod/nothing", "/nothing", "nothing"))
    assert status == 404
    assert body["code"] == "not_found"


def test_telemetry_is_the_outermost_middleware(settings: Any) -> None:
    first = settings.MIDDLEWARE[0]
    assert first == f"{TelemetryMiddleware.__module__}.{TelemetryMiddleware.__name__}"


@pytest.mark.parametrize(
    ("resource", "parameters", "seen", "mount", "inside"),
    [
        ("/health", None, "/prod/health", "/prod", "/health"),
        ("/health", None, "/prod/health/", "/prod", "/health/"),
        ("/health/live", None, "/v1/health/live", "/v1", "/health/live"),
        ("/users/{id}", {"id": "a b"}, "/prod/users/a%20b", "/prod", "/users/a b"),
        ("/users/{proxy+}", {"proxy": "users/x"}, "/prod/users/users/x", "/prod",
         "/users/users/x"),
        ("/{proxy+}", {"proxy": "users/users"}, "/users/users", "", "/users/users"),
        ("/{proxy+}", {"proxy": "users"}, "/base/users//", "/base", "/users//"),
        ("/{proxy+}", {"proxy": "users/"}, "/base/users///", "/base", "/users///"),
        ("/{proxy+}", {"proxy": "/users"}, "/base/users//", "/base", "/users//"),
        ("/health", None, "/base/health///", "/base", "/health///"),
        ("/{proxy+}", {"proxy": "/"}, "/base/", "/base", "/"),
        # Encoded twice, it is decoded once.
        ("/users/{id}", {"id": "a%252Fb"}, "/base/users/a%252Fb", "/base", "/users/a%2Fb"),
        # The console's sample event.
        ("/{proxy+}", {"proxy": "/users/x"}, "/prod/users/x", "/prod", "/users/x"),
        # Whatever the caller wrote, the authorizer of this resource was asked.
        ("/health", None, "/prod/users", "", "/health"),
    ],
)  # fmt: skip
def test_the_path_inside_is_the_resource_with_its_parameters(
    resource: str, parameters: Any, seen: str, mount: str, inside: str
) -> None:
    asked = event(API, seen, "/what/ever", None)
    asked |= {"resource": resource, "pathParameters": parameters}
    assert split_path(asked) == (mount, inside)


@pytest.mark.parametrize(
    ("domain", "stage", "seen", "mount", "inside"),
    [
        (API, "$default", "/users", "", "/users"),
        (API, "prod", "/prod/users", "/prod", "/users"),
        (API, "prod", "/prod", "/prod", "/"),
        (API, "prod", "/production", "", "/production"),
        ("api.example.com", "prod", "/prod/users", "", "/prod/users"),
    ],
)
def test_the_default_route_of_an_http_api_has_the_path_of_the_caller(
    domain: str, stage: str, seen: str, mount: str, inside: str
) -> None:
    asked = event(domain, seen, seen, None)
    asked |= {"resource": "$default", "version": "1.0"}
    asked["requestContext"] |= {"apiId": "abc123", "stage": stage}
    assert split_path(asked) == (mount, inside)


def test_an_open_health_beside_an_authorizer_answers_as_health(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    asked = event(API, "/prod/health/live", "/health/live", None)
    asked["resource"] = "/health/live"
    assert get(asked) == (200, {"status": "ok", "region": "us-east-1"})


def test_payload_format_1_0_of_an_http_api_is_served() -> None:
    asked = event(API, "/prod/", "/", None) | {"version": "1.0"}
    assert get(asked)[1]["links"]["users"] == "/prod/users"


@pytest.mark.parametrize(
    ("multiple", "single", "expected"),
    [
        ({"a": ["1", "2"], "b": [""]}, {"a": "2", "b": ""}, [("a", "1"), ("a", "2"), ("b", "")]),
        ({"q": ["a&b=c %+ é"]}, None, [("q", "a&b=c %+ é")]),
        (None, {"a": "1"}, [("a", "1")]),
        (None, None, []),
    ],
)  # fmt: skip
def test_each_value_of_the_query_arrives(
    multiple: Any, single: Any, expected: list[tuple[str, str]]
) -> None:
    asked = event(API, "/prod/", "/", None) | {
        "multiValueQueryStringParameters": multiple, "queryStringParameters": single,
    }  # fmt: skip
    query = build_environ(asked, None)["QUERY_STRING"]
    assert query.isascii()
    assert parse_qsl(query, keep_blank_values=True) == expected


def test_headers_arrive_once_whatever_their_letters() -> None:
    asked = event(API, "/prod/", "/", None)
    asked["headers"] = {"Only-Single": "s", "If-Match": "last"}
    asked["multiValueHeaders"] = {
        "If-Match": ['"a"', '"b"'], "if-match": ['"c"'], "cookie": ["a=1", "b=2"],
        "content-type": ["application/json"], "Content-Length": ["999"],
        "If_None_Match": ["another header's name"],
    }  # fmt: skip
    environ = build_environ(asked, None)
    assert environ["HTTP_IF_MATCH"] == '"a", "b", "c"'
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert environ["HTTP_ONLY_SINGLE"] == "s"
    assert environ["CONTENT_TYPE"] == "application/json"
    assert environ["CONTENT_LENGTH"] == "0"
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH", "HTTP_IF_NONE_MATCH"} & set(
        environ
    )


def test_an_event_without_headers_has_none() -> None:
    asked = event(API, "/prod/", "/", None)
    asked |= {"headers": None, "multiValueHeaders": None}
    assert not [name for name in build_environ(asked, None) if name.startswith("HTTP_")]


@pytest.mark.parametrize(
    ("body", "encoded", "expected"),
    [
        (None, False, b""), ("", True, b""), ("é", False, "é".encode()),
        (base64.b64encode(b"\xff\x00").decode(), True, b"\xff\x00"),
        ("\ud800", False, b"\xed\xa0\x80"),  # no UTF-8: the parser refuses it
    ],
)  # fmt: skip
def test_the_body_is_what_the_client_sent(
    body: str | None, encoded: bool, expected: bytes
) -> None:
    asked = event(API, "/prod/", "/", None)
    environ = build_environ(asked | {"body": body, "isBase64Encoded": encoded}, None)
    assert isinstance(environ["wsgi.input"], io.BytesIO)
    assert environ["wsgi.input"].read() == expected
    assert environ["CONTENT_LENGTH"] == str(len(expected))


def test_text_is_sent_as_it_is_and_anything_else_in_base64() -> None:
    headers = [("ETag", '"a"'), ("Link", "<a>"), ("Link", "<b>")]
    text = build_response(200, headers, "é".encode())
    assert (text["body"], text["isBase64Encoded"]) == ("é", False)
    assert text["multiValueHeaders"] == {"ETag": ['"a"'], "Link": ["<a>", "<b>"]}
    binary = build_response(200, [], b"\xff")
    assert (binary["body"], binary["isBase64Encoded"]) == ("/w==", True)
    assert build_response(204, [], b"")["body"] == ""


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("OPTIONS", "users", {}, 204),
        ("OPTIONS", "users", {"Origin": "https://app.example.com",
                              "Access-Control-Request-Method": "POST"}, 200),
    ],
)  # fmt: skip
def test_what_has_no_body_has_no_content_type(
    method: str, path: str, headers: dict[str, str], status: int
) -> None:
    asked = event(API, f"/prod/{path}", f"/{path}", path, **headers)
    response = handler.lambda_handler(asked | {"httpMethod": method}, CONTEXT)
    assert (response["statusCode"], response["body"]) == (status, "")
    assert "Content-Type" not in response["multiValueHeaders"]


def test_a_stream_is_sent_as_a_whole_and_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed: list[bool] = []
    streamed = StreamingHttpResponse([b"a\n", b"b\n"])
    monkeypatch.setattr(streamed, "close", lambda: closed.append(True))

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", list(streamed.items()))
        return streamed

    monkeypatch.setattr(handler, "application", application)
    response = handler.lambda_handler(event(API, "/prod/", "/", None), CONTEXT)
    assert (response["statusCode"], response["body"]) == (200, "a\nb\n")
    assert closed == [True]


def test_a_response_that_breaks_off_is_a_problem_instead_of_half_of_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def parts() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError("a bug")

    def application(environ: Any, start_response: Any) -> StreamingHttpResponse:
        start_response("200 OK", [])
        return StreamingHttpResponse(parts())

    monkeypatch.setattr(handler, "application", application)
    status, body = get(event(API, "/prod/", "/", None))
    assert (status, body["code"]) == (500, "internal_error")
    assert "a bug" in caplog.text
