"""HTTP events that are not served are refused in the form that their sender takes."""

import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from config.on_lambda.handler import lambda_handler
from tests.config.on_lambda.test_events import API, event

CONTEXT = SimpleNamespace(aws_request_id="a-request")
BALANCER = {
    "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:x"}},
    "httpMethod": "GET", "path": "/users", "queryStringParameters": {},
    "headers": {"host": "lb.example.com"}, "body": "", "isBase64Encoded": False,
}  # fmt: skip
MULTIPLE = {k: v for k, v in BALANCER.items() if k != "headers"} | {
    "multiValueHeaders": {"host": ["lb.example.com"]}
}
V2 = {
    "version": "2.0", "routeKey": "$default", "rawPath": "/users", "rawQueryString": "",
    "headers": {"host": API}, "isBase64Encoded": False,
    "requestContext": {"domainName": API, "http": {"method": "GET", "path": "/users"}},
}  # fmt: skip
URL = V2 | {
    "requestContext": {
        "domainName": "x.lambda-url.us-east-1.on.aws",
        "http": {"method": "GET", "path": "/users"},
    }
}
WEBSOCKET = {
    "requestContext": {"connectionId": "a=", "eventType": "CONNECT", "routeKey": "$connect"},
    "headers": {"Host": API}, "multiValueHeaders": {"Host": [API]},
}  # fmt: skip
LATTICE = {
    "version": "2.0", "path": "/users", "method": "GET", "headers": {"host": ["x"]},
    "requestContext": {"serviceNetworkArn": "arn:aws:vpc-lattice:x"},
}  # fmt: skip
LATTICE_1 = {"raw_path": "/users", "method": "GET", "headers": {"host": "x"}}
AUTHORIZER = event(API, "/prod/", "/", None) | {
    "type": "REQUEST", "methodArn": "arn:aws:execute-api:x",
}  # fmt: skip
LATER = event(API, "/prod/", "/", None) | {"version": "3.0"}
WITHOUT_CONTEXT = {"httpMethod": "GET", "path": "/users", "resource": "/{proxy+}"}
ODD_METHOD = {"httpMethod": ["GET"], "requestContext": {}}
UNKNOWN = "an unknown source of HTTP events"
ODD: dict[str, Any] = {
    "httpMethod": {"a": ["GET"]}, "requestContext": ["x"], "resource": ["/"],
    "version": {"1.0": []}, "methodArn": [], "routeKey": {}, "rawPath": [[]],
}  # fmt: skip
REFUSED = {
    "a list of methods": (ODD_METHOD, UNKNOWN),
    "a load balancer": (BALANCER, "an Application Load Balancer"),
    "a load balancer's lists": (MULTIPLE, "an Application Load Balancer"),
    "format 2.0": (V2, "an HTTP API with payload format 2.0"),
    "a function URL": (URL, "a function URL"),
    "a WebSocket API": (WEBSOCKET, "a WebSocket API"),
    "VPC Lattice": (LATTICE, "VPC Lattice"),
    "VPC Lattice, version 1": (LATTICE_1, "VPC Lattice"),
    "an authorizer": (AUTHORIZER, "an unknown source of HTTP events"),
    "a later format": (LATER, "an unknown source of HTTP events"),
    "no context": (WITHOUT_CONTEXT, "an unknown source of HTTP events"),
    "all odd": (ODD, UNKNOWN),
}


@pytest.mark.parametrize(("sent", "name"), REFUSED.values(), ids=REFUSED.keys())
def test_an_http_event_that_is_not_served_is_501_and_one_line_that_names_the_wiring(
    sent: dict[str, Any], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        response = lambda_handler(sent, CONTEXT)
    body = json.loads(response["body"])
    assert (response["statusCode"], body["status"]) == (501, 501)
    assert body["code"] == "unsupported_wiring"
    assert name in body["detail"]
    assert response["isBase64Encoded"] is False
    (line,) = [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert name in line.getMessage()
    (counted,) = [r for r in caplog.records if hasattr(r, "fields")]
    assert (counted.fields["status"], counted.fields["Requests"]) == (501, 1)


@pytest.mark.parametrize(
    "sent", [BALANCER, V2, URL, LATTICE], ids=["balancer", "2.0", "URL", "Lattice"]
)
def test_whoever_sent_single_headers_gets_single_headers(sent: dict[str, Any]) -> None:
    response = lambda_handler(sent, CONTEXT)
    assert response["headers"]["Content-Type"] == "application/problem+json"
    assert response["headers"]["X-Request-Id"] == "a-request"
    assert "multiValueHeaders" not in response


@pytest.mark.parametrize("sent", [MULTIPLE, WEBSOCKET], ids=["balancer", "WebSocket"])
def test_whoever_sent_lists_of_headers_gets_lists(sent: dict[str, Any]) -> None:
    response = lambda_handler(sent, CONTEXT)
    kind = response["multiValueHeaders"]["Content-Type"]
    assert kind == ["application/problem+json"]
    assert "headers" not in response


def test_a_load_balancer_gets_the_status_in_words() -> None:
    response = lambda_handler(BALANCER, CONTEXT)
    assert response["statusDescription"] == "501 Not Implemented"


def test_an_authorizers_question_is_answered_with_no_policy() -> None:
    assert "policyDocument" not in lambda_handler(AUTHORIZER, CONTEXT)


def test_a_refusal_keeps_nothing_of_the_request_before() -> None:
    lambda_handler(
        event(API, "/prod/health/live", "/health/live", "health/live"), CONTEXT
    )
    body = json.loads(lambda_handler(BALANCER, CONTEXT)["body"])
    assert body["type"] == "/problems#unsupported-wiring"
