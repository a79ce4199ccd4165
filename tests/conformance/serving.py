"""One request of each kind, as the API's process in a Region serves it.

``python -m tests.conformance.serving`` with the environment of a sandbox.
"""

import json
import os
import sys
from typing import Any

import django
from django.test import Client

JSON = "application/json"
NDJSON = "application/x-ndjson"
ADA = {"name": "Ada Lovelace", "email": "ada@example.com"}


class Caller:
    def __init__(self) -> None:
        self.client = Client()

    def __call__(
        self, expected: int, method: str, path: str, body: Any = None, **headers: str
    ) -> Any:
        content = body if isinstance(body, str) else json.dumps(body)
        kind = NDJSON if isinstance(body, str) else JSON
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = self.client.generic(
            method, path, "" if body is None else content, kind, headers=named
        )
        assert response.status_code == expected, (method, path, response.content)
        return response


def serve() -> None:
    call = Caller()
    for path in ("/", "/health", "/health/live", "/openapi.json", "/problems"):
        call(200, "GET", path)
    user = call(201, "POST", "/users", ADA).json()
    call(409, "POST", "/users", ADA)
    other = {"name": "Grace Hopper", "email": "grace@example.com"}
    for _ in range(2):  # the second is a replay
        call(201, "POST", "/users", other, Idempotency_Key="k1")
    call(422, "POST", "/users", ADA, Idempotency_Key="k1")
    call(409, "POST", "/users", ADA, Idempotency_Key="k2")
    mine = f"/users/{user['id']}"
    etag = call(200, "GET", mine).headers["ETag"]
    call(304, "GET", mine, If_None_Match=etag)
    call(200, "PATCH", mine, {"name": "Ada"}, If_Match=etag)
    call(412, "PATCH", mine, {"name": "Ada"}, If_Match=etag)
    call(200, "PUT", mine, ADA)
    call(409, "PUT", mine, other)
    first = call(200, "GET", "/users?limit=1").json()
    call(200, "GET", first["next"])
    for query in ("email=ADA@example.com", "name_prefix=ad", "created_from=2020-01-01T00:00:00Z",
                  "created_to=2099-01-01T00:00:00Z"):  # fmt: skip
        call(200, "GET", f"/users?{query}")
    named = call(200, "GET", "/users?limit=1&name_prefix=a").json()
    assert named["count"] == 1
    lines = "".join(
        f"{json.dumps({'name': 'N', 'email': f'n{n}@example.com'})}\n" for n in range(3)
    )
    call(200, "POST", "/users/import", lines)
    call(200, "POST", "/users/import", lines)
    exported = call(200, "GET", "/users/export")
    assert len(b"".join(exported.streaming_content).splitlines()) == 6
    call(204, "DELETE", mine)
    call(404, "DELETE", mine)
    call(404, "GET", mine)
    call(404, "PATCH", mine, {"name": "Ada"})


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
