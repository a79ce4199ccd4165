"""What every peer does alike: headers, one log line, the login, API Gateway's event."""

import json
import logging
import os
import time
import uuid
from typing import Any

from config.dsql.tokens import TOKENS, Endpoint, parse_region

FIELDS = ("id", "name", "email", "created_at", "updated_at")
HEADERS = {
    "X-Served-By-Region": "us-east-1",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
logger = logging.getLogger("peer")


def connect_arguments() -> dict[str, Any]:
    host = os.environ["DSQL_ENDPOINT"]
    endpoint = Endpoint(host, str(parse_region(host)), "admin")
    return {
        "host": host, "user": "admin", "dbname": "postgres", "sslmode": "verify-full",
        "password": TOKENS.issue(endpoint),
    }  # fmt: skip


def log(method: str, route: str, status: int, started: float) -> str:
    """One JSON line; returns the request's id, which is a header too."""
    request_id = str(uuid.uuid4())
    latency = round((time.perf_counter() - started) * 1000, 2)
    line = {"request_id": request_id, "method": method, "route": route,
            "status": status, "latency": latency}  # fmt: skip
    logger.info(json.dumps(line))
    return request_id


def event(method: str, path: str, query: dict[str, str], body: Any) -> dict[str, Any]:
    """A request as API Gateway hands it over (payload version 1.0)."""
    headers = {
        "Accept": "application/json", "Accept-Encoding": "gzip, deflate, br",
        "Content-Type": "application/json", "Host": "api.example.com",
        "User-Agent": "benchmark/1.0", "X-Amzn-Trace-Id": "Root=1-5f84c7a9-0a1b2c3d4e5f",
        "X-Forwarded-For": "203.0.113.7", "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
    }  # fmt: skip
    return {
        "resource": "/{proxy+}", "path": path, "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": query or None,
        "multiValueQueryStringParameters": {k: [v] for k, v in query.items()} or None,
        "pathParameters": {"proxy": path.lstrip("/")}, "stageVariables": None,
        "requestContext": {
            "path": path, "httpMethod": method, "stage": "prod", "resourcePath": "/{proxy+}",
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef", "protocol": "HTTP/1.1",
            "identity": {"sourceIp": "203.0.113.7", "userAgent": "benchmark/1.0"},
        },
        "body": None if body is None else json.dumps(body), "isBase64Encoded": False,
    }  # fmt: skip
