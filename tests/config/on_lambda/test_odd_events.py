"""Events with what no client or no API Gateway should send: nothing passes for something else."""

import logging
from typing import Any

import pytest

from config.on_lambda.events import build_environ
from tests.config.on_lambda.test_events import API, connections_stay, event, get

__all__ = ["connections_stay"]  # a fixture for each test here as well


@pytest.mark.parametrize(
    ("resource", "parameters", "seen"),
    [
        ("/users/{id}", {"id": "a/b"}, None),
        ("/health/{id}", {"id": "..%2Fusers"}, None),
        ("/{id}", {"id": "users%2fexport"}, "/prod/users%2fexport"),
        ("/{id}", {"id": "users/export"}, "/prod/users%2Fexport"),
        ("/{id}", {"id": "users\\export"}, None),
        ("/{id}/x", {"id": "users%5Cexport"}, None),
        ("/{proxy+}", {"proxy": "users%2Fexport"}, "/prod/users%2Fexport"),
        ("/{proxy+}", {"proxy": "users/export"}, "/prod/users%2Fexport"),
        ("/{proxy+}", {"proxy": "users%2fexport"}, "/prod/users%252fexport"),
        ("$default", None, "/prod/users%2Fexport"),
    ],
)  # fmt: skip
def test_an_encoded_slash_reaches_no_route(
    resource: str, parameters: Any, seen: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    asked = event(API, seen or "/prod/x", "/what/ever", None)
    asked |= {"resource": resource, "pathParameters": parameters}
    with caplog.at_level(logging.INFO):
        status, body = get(asked)
    assert (status, body["code"]) == (404, "not_found")
    (line,) = [r for r in caplog.records if hasattr(r, "fields")]
    assert line.fields["Route"] == "unmatched"


@pytest.mark.parametrize(
    "name",
    ["Ho\u017ft", "Author\u0131zation", "X Y", "X:Y", "X-\u00e9", "X\n", "", "If_Match"],
)  # fmt: skip
def test_a_name_that_is_no_header_name_is_dropped(name: str) -> None:
    asked = event(API, "/prod/", "/", None)
    expected = set(build_environ(asked, None))
    asked["multiValueHeaders"][name] = ["evil.example.com"]
    environ = build_environ(asked, None)
    assert set(environ) == expected
    assert environ["HTTP_HOST"] == API


@pytest.mark.parametrize(
    "odd",
    [
        {"resource": "/{id}"}, {"resource": "/{id}", "pathParameters": {"id": ["a"]}},
        {"pathParameters": ["a"]}, {"pathParameters": {"a": 1}}, {"multiValueHeaders": ["a"]},
        {"multiValueHeaders": {"a": 1}}, {"multiValueHeaders": {"a": [{}]}},
        {"headers": {"x-request-id": ["a"]}}, {"headers": {"traceparent": 1}}, {"headers": "a"},
        {"body": ["a"]}, {"body": "\u00e9", "isBase64Encoded": True},
        {"multiValueQueryStringParameters": "a"}, {"requestContext": {"path": ["/prod/"]}},
    ],
    ids=str,
)  # fmt: skip
def test_an_event_with_an_odd_field_is_a_problem_without_the_mount_before_it(
    odd: dict[str, Any],
) -> None:
    assert get(event(API, "/base/health/live", "", "health/live"))[0] == 200
    status, body = get(event(API, "/prod/", "/", None) | odd)
    assert (status, body["code"]) == (500, "internal_error")
    assert body["type"] == "/problems#internal-error"


def test_a_client_address_of_an_odd_type_is_none() -> None:
    asked = event(API, "/prod/", "/", None)
    asked["requestContext"]["identity"] = {"sourceIp": ["192.0.2.7"]}
    assert build_environ(asked, None)["REMOTE_ADDR"] == ""
