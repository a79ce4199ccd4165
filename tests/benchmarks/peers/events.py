"""The requests of the benchmark, as a REST API of API Gateway hands them over."""

import itertools
import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

Event = dict[str, Any]
# What a cell of the table sends, and the status that it must get.
CELLS = {
    "health": 200, "GET": 200, "list 50": 200,
    "POST": 201, "keyed POST": 201, "PATCH": 200,
}  # fmt: skip
HOST = "api.example.com"
HEADERS = {
    "Accept": "application/json", "Accept-Encoding": "gzip, deflate, br",
    "Content-Type": "application/json", "Host": HOST, "User-Agent": "benchmark/1.0",
    "X-Amzn-Trace-Id": "Root=1-5f84c7a9-0a1b2c3d4e5f60718293a4b5",
    "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Port": "443",
    "X-Forwarded-Proto": "https",
}  # fmt: skip
NUMBERS = itertools.count(time.time_ns())


def build_events(cell: str, user: str, calls: int) -> list[Event]:
    return [_build(cell, user) for _ in range(calls)]


def _build(cell: str, user: str) -> Event:
    if cell == "health":
        return build_event("GET", "/health/live")
    if cell == "GET":
        return build_event("GET", f"/users/{user}")
    if cell == "list 50":
        return build_event("GET", "/users", {"limit": "50"})
    if cell == "PATCH":
        name = f"Ada {next(NUMBERS)}"
        return build_event("PATCH", f"/users/{user}", body={"name": name})
    body = {"name": "Ada", "email": f"ada-{next(NUMBERS)}@example.com"}
    keys = {"Idempotency-Key": str(uuid.uuid4())} if cell == "keyed POST" else {}
    return build_event("POST", "/users", body=body, headers=keys)


def build_event(
    method: str, path: str, query: Mapping[str, str] | None = None, *,
    body: Any = None, headers: Mapping[str, str] | None = None,
) -> Event:  # fmt: skip
    """Payload version 1.0: API Gateway developer guide, "Input format of a Lambda
    function for proxy integration"."""
    sent = {**HEADERS, **(headers or {})}
    return {
        "resource": "/{proxy+}", "path": path, "httpMethod": method,
        "headers": sent,
        "multiValueHeaders": {name: [value] for name, value in sent.items()},
        "queryStringParameters": dict(query) if query else None,
        "multiValueQueryStringParameters":
            {name: [value] for name, value in query.items()} if query else None,
        "pathParameters": {"proxy": path.removeprefix("/")}, "stageVariables": None,
        "requestContext": {
            "resourcePath": "/{proxy+}", "path": path, "httpMethod": method,
            "stage": "live", "apiId": "abcdefghij", "accountId": "123456789012",
            "domainName": HOST, "domainPrefix": "api", "protocol": "HTTP/1.1",
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "extendedRequestId": "JKJaXmPLvHcESHA=", "requestTimeEpoch": 1583798639428,
            "identity": {"sourceIp": "203.0.113.7", "userAgent": HEADERS["User-Agent"]},
        },
        "body": None if body is None else json.dumps(body), "isBase64Encoded": False,
    }  # fmt: skip
