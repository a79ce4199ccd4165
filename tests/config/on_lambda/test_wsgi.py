import json
from typing import Any

import pytest
from django.core.signals import request_started
from django.db import close_old_connections
from django.test import override_settings
from zappa.wsgi import create_wsgi_request

from config.on_lambda.wsgi import application, mounted
from config.telemetry.middleware import TelemetryMiddleware

API = "abc123.execute-api.us-east-1.amazonaws.com"


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


def get(asked: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Status, body and environ, by way of Zappa's own conversion."""
    environ = create_wsgi_request(asked, script_name="/primary")
    environ |= {"lambda.event": asked, "wsgi.url_scheme": "https"}
    status: list[str] = []
    # As Django's test client: the database is none of these tests' business.
    request_started.disconnect(close_old_connections)
    try:
        with override_settings(ALLOWED_HOSTS=[]):
            chunks = application(environ, lambda line, *_: status.append(line))
            return status[0], json.loads(b"".join(chunks)), environ
    finally:
        request_started.connect(close_old_connections)


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
    found, inside = mounted(event(API, seen, path, proxy))
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
    status, body, _ = get(event(host, seen, path, None))
    assert status.startswith("200")
    assert body["links"]["users"] == f"{prefix}/users"
    assert body["links"]["health"] == f"{prefix}/health"


def test_the_clients_address_is_api_gateways_not_what_the_client_says() -> None:
    asked = event(
        API, "/prod/", "/", None, **{"X-Forwarded-For": "10.9.9.9, 10.8.8.8, 192.0.2.7"}
    )
    _, _, environ = get(asked)
    assert environ["REMOTE_ADDR"] == "192.0.2.7"


@pytest.mark.parametrize(
    ("known", "caller"),
    [({}, ""), ({"authorizer": {"claims": {"sub": "ada"}}}, "ada"),
     ({"authorizer": {"principalId": "ada"}}, "ada"),
     ({"identity": {"userArn": "arn:aws:iam::1:user/ada"}}, "arn:aws:iam::1:user/ada"),
     ({"authorizer": None, "identity": {"userArn": None}}, "")],
)  # fmt: skip
def test_the_caller_is_whom_an_authorizer_let_in(
    known: dict[str, Any], caller: str
) -> None:
    asked = event(API, "/prod/", "/", None)
    asked["requestContext"] |= known
    assert get(asked)[2]["apigateway.caller"] == caller


@pytest.mark.parametrize(
    "host", [API, API.upper(), f"{API}:443", "api.example.com", "API.Example.com."]
)
def test_the_names_that_api_gateway_routes_by_need_no_listing(host: str) -> None:
    asked = event(host, "/prod/health/live", "/health/live", "health/live")
    asked["requestContext"]["domainName"] = (
        host.lower().removesuffix(":443").removesuffix(".")
    )
    assert get(asked)[0].startswith("200")


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
    status, body, _ = get(asked)
    assert (status, body["code"]) == ("400 Bad Request", "host_not_allowed")


def test_an_unknown_path_is_a_problem() -> None:
    status, body, _ = get(event(API, "/prod/nothing", "/nothing", "nothing"))
    assert status.startswith("404")
    assert body["code"] == "not_found"


def test_telemetry_is_the_outermost_middleware(settings: Any) -> None:
    first = settings.MIDDLEWARE[0]
    assert first == f"{TelemetryMiddleware.__module__}.{TelemetryMiddleware.__name__}"
