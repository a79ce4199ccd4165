"""Every route, served with an import of anything that is left out of the package refused.

A program: prints the statuses as JSON, or ends with the import that failed.
"""

import importlib.abc
import json
import os
import sys
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from ops.deploy.left_out import is_left_out

HOST = "abc.execute-api.us-east-1.amazonaws.com"
USER = {"name": "Ada", "email": "ada@left-out.example"}
PARTS = ("config", "users")
BROUGHT = ("boto3", "botocore", "werkzeug", "zappa", "ops", "tests")


class Refusal(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> None:
        file = name.replace(".", "/")
        # The packages above are refused themselves, so only the leaf counts.
        if name.split(".")[0] in BROUGHT or (
            is_left_out(f"{file}.py") and is_left_out(f"{file}/__init__.py")
        ):
            raise ModuleNotFoundError(f"{name} is not in the package", name=name)


def event(method: str, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
    named = {"Host": HOST, "Content-Type": "application/json", **headers}
    where, _, query = path.partition("?")
    values = dict(pair.split("=") for pair in query.split("&") if pair)
    return {
        "resource": "/{proxy+}" if where != "/" else "/", "path": where,
        "httpMethod": method, "headers": named,
        "multiValueHeaders": {name: [value] for name, value in named.items()},
        "multiValueQueryStringParameters": {k: [v] for k, v in values.items()} or None,
        "pathParameters": {"proxy": where[1:]} if where != "/" else None,
        "requestContext": {"path": f"/prod{where}", "domainName": HOST, "identity": {}},
        "body": body if isinstance(body, str | None) else json.dumps(body),
        "isBase64Encoded": False,
    }  # fmt: skip


def requests(user: str) -> Iterator[dict[str, Any]]:
    one = f"/users/{user}"
    yield event("GET", "/", Accept="text/html")
    for path in (
        "/", "/health", "/health/live", "/openapi.json", "/problems", "/users",
        "/users?limit=1", "/users?name_prefix=A", "/users?colour=blue", "/users/export",
        one, "/nothing",
    ):  # fmt: skip
        yield event("GET", path)
        yield event("HEAD", path)
    preflight = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "PUT",
    }
    yield event("OPTIONS", one, **preflight)
    yield event("OPTIONS", one)
    yield event("POST", "/users", USER)
    yield event("POST", "/users", {"name": 1})
    yield event("POST", "/users", "no JSON")
    yield event("POST", "/users", USER, **{"Content-Type": "text/plain"})
    lines = json.dumps({"name": "Bob", "email": "bob@left-out.example"})
    yield event(
        "POST", "/users/import", lines, **{"Content-Type": "application/x-ndjson"}
    )
    yield event("PATCH", one, {"name": "Eva"})
    yield event("PUT", one, USER, **{"If-Match": '"other"'})
    yield event("PUT", one, USER)
    yield event("DELETE", one)
    yield event("DELETE", one)
    yield event("TRACE", one)


def serve(database: str) -> list[int]:
    from django.conf import settings

    settings.DATABASES["default"]["NAME"] = database
    from config.on_lambda.start import lambda_handler

    context = SimpleNamespace(
        aws_request_id="a", get_remaining_time_in_millis=lambda: 30_000
    )
    created = lambda_handler(
        event("POST", "/users", USER, **{"Idempotency-Key": os.urandom(8).hex()}),
        context,
    )
    user = json.loads(created["body"]).get("id", "")
    served = [lambda_handler(each, context)["statusCode"] for each in requests(user)]
    lambda_handler({"maintenance": "delete_expired_responses"}, context)
    return [created["statusCode"], *served]


def main(arguments: Sequence[str]) -> None:
    sys.meta_path.insert(0, Refusal())
    statuses = serve(arguments[0])
    found = {"statuses": statuses, "modules": sorted(sys.modules)}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
