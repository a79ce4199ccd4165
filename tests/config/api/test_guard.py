"""What fails outside of the views is a problem document too."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from django.core.exceptions import PermissionDenied
from django.core.signals import request_started
from django.db import InternalError, OperationalError, connections
from django.http import HttpRequest
from django.test import Client
from rest_framework import exceptions

from config import wsgi
from config.api import guard, middleware, problems
from config.api.health import STATE
from config.api.problem_types import PROBLEM_TYPES
from config.dsql.conflicts import OutcomeUnknown
from config.on_lambda import handler

pytestmark = pytest.mark.django_db


def call(
    application: Callable[..., Any], path: str = "/health/live", **more: Any
) -> tuple[str, dict[str, str], Any]:
    """The status, the headers and the document that a server gets."""
    environ: dict[str, Any] = {"PATH_INFO": path, "HTTP_HOST": "testserver", **more}
    setup_testing_defaults(environ)
    seen: list[Any] = []
    response = application(
        environ, lambda status, headers, *_: seen.extend((status, headers))
    )
    body = json.loads(b"".join(response))
    response.close()
    return seen[0], dict(seen[1]), body


@contextmanager
def receiving(error: Exception) -> Iterator[None]:
    def fail(**_: Any) -> None:
        raise error

    request_started.connect(fail)
    try:
        yield
    finally:
        request_started.disconnect(fail)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (AttributeError("no attribute _used_at"), 500, "internal_error"),
        (OperationalError("gone"), 503, "database_unavailable"),
        (OutcomeUnknown("gone"), 503, "outcome_unknown"),
        (InternalError("cache lookup failed"), 500, "internal_error"),
    ],
)
def test_a_listener_of_requests_that_fails_is_a_problem(
    error: Exception, status: int, code: str
) -> None:
    with receiving(error):
        line, headers, body = call(wsgi.application)
    assert (int(line.split()[0]), body["status"], body["code"]) == (
        status,
        status,
        code,
    )
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Served-By-Region"] == "us-east-1"
    assert "_used_at" not in json.dumps(body)
    assert call(wsgi.application)[0] == "200 OK"


def test_an_event_that_is_no_request_is_a_problem() -> None:
    event = {"httpMethod": "GET", "resource": "/", "requestContext": {}}
    response = handler.lambda_handler(event, None)
    body = json.loads(response["body"])
    assert (response["statusCode"], body["code"]) == (500, "internal_error")


@pytest.mark.parametrize("is_named", [True, False])
def test_what_fails_outside_of_django_has_its_line_and_its_metric(
    is_named: bool, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    settings.METRICS_NAMESPACE = "users"
    named = {"HTTP_X_REQUEST_ID": "mine"} if is_named else {}
    with caplog.at_level(logging.INFO), receiving(RuntimeError("a bug")):
        _, headers, _ = call(wsgi.application, **named)
    (line,) = [r for r in caplog.records if hasattr(r, "fields")]
    assert line.getMessage() == "GET unmatched 500"
    assert (line.fields["status"], line.fields["Requests"]) == (500, 1)
    assert line.fields["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "users"
    (cause,) = [r for r in caplog.records if r.exc_info]
    assert cause.getMessage() == "A request failed outside of its handling"
    assert headers["X-Request-Id"]
    assert (headers["X-Request-Id"] == "mine") == is_named


def test_what_fails_after_the_middleware_keeps_its_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @guard.guarded
    def fails_late(environ: dict[str, Any], start_response: Any) -> Any:
        response = wsgi.application(environ, start_response)
        response.close()
        raise RuntimeError("a bug")

    with caplog.at_level(logging.INFO):
        _, _, body = call(fails_late)
    assert body["code"] == "internal_error"
    (line,) = [r for r in caplog.records if hasattr(r, "fields")]
    assert line.getMessage() == "GET /health/live 200"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RuntimeError("a bug"), 500, "internal_error"),
        (OperationalError("gone"), 503, "database_unavailable"),
        (PermissionDenied(), 403, "insufficient_scope"),
    ],
)
def test_a_middleware_that_fails_is_a_problem(
    error: Exception, status: int, code: str, client: Client, monkeypatch: Any
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(middleware.APIMiddleware, "process_view", fail)
    client = Client(raise_request_exception=False)
    answer = client.get("/health/live")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "part",
    ["config.api.hosts.is_allowed", "config.dsql.deadlines.Work", "config.telemetry.middleware.begin_measures"],
)  # fmt: skip
def test_each_middleware_that_fails_leaves_a_whole_response(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(part, fail)
    answer = Client(raise_request_exception=False).get("/health/live")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer["X-Served-By-Region"] == "us-east-1"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "no-store"


def test_a_handler_of_errors_that_fails_is_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(request: HttpRequest, exception: Any = None) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("config.urls.handler404", fail)
    line, _, body = call(wsgi.application, "/nothing")
    assert (line, body["code"]) == ("500 Internal Server Error", "internal_error")
    monkeypatch.setattr("config.urls.handler500", fail)
    line, _, body = call(wsgi.application, "/nothing")
    assert (line, body["code"]) == ("500 Internal Server Error", "internal_error")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (exceptions.NotAcceptable(), "malformed"),
        (exceptions.PermissionDenied(), "insufficient_scope"),
        (exceptions.Throttled(), "rate_limited"),
        (exceptions.NotAuthenticated(), "unauthenticated"),
        (exceptions.APIException(), "internal_error"),
    ],
)
def test_each_error_of_the_framework_has_a_code_of_its_own_status(
    error: exceptions.APIException, code: str
) -> None:
    answer = problems.handle(error, {})
    assert answer is not None
    assert json.loads(answer.content)["code"] == code
    assert answer.status_code == PROBLEM_TYPES[code].status


def test_only_a_response_that_asked_the_peer_names_the_databases_region(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections["default"], "peer_region", "us-east-2")
    STATE.clear()
    assert client.get("/users")["X-Database-Region"] == "us-east-2"
    assert client.get("/health")["X-Database-Region"] == "us-east-2"
    for path in ("/health/live", "/problems", "/nothing", "/health", "/users?limit=0"):
        assert not client.get(path).has_header("X-Database-Region"), path
    monkeypatch.setattr(connections["default"], "peer_region", None)
    assert not client.get("/users").has_header("X-Database-Region")
