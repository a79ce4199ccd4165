"""One peer in a process of its own: reads a cell and a number of calls, answers its CPU."""

import gc
import json
import logging
import os
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.benchmarks.peers.common import event

NULL = Path(os.devnull)


def load(peer: str) -> Any:
    if peer == "floor":
        from tests.benchmarks.peers.floor import handler

        return handler
    if peer == "FastAPI":
        from tests.benchmarks.peers.fastapi_app import handler as mangum

        return mangum
    if peer == "django-ninja":
        from tests.benchmarks.peers import zappa_handler

        return zappa_handler.handler(
            "tests.benchmarks.peers.ninja_app:application",
            "tests.benchmarks.peers.ninja_settings",
        )
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.benchmarks.peers.own_settings"
    from config.on_lambda.handler import lambda_handler

    return lambda_handler


def requests(cell: str, user: str, calls: int) -> Iterator[tuple[dict[str, Any], int]]:
    for _ in range(calls):
        if cell == "POST":
            email = f"{time.time_ns()}-{os.getpid()}@example.com"
            yield event("POST", "/users", {}, {"name": "Ada", "email": email}), 201
        elif cell == "PATCH":
            name = f"Ada {time.time_ns()}"
            yield event("PATCH", f"/users/{user}", {}, {"name": name}), 200
        elif cell == "list":
            yield event("GET", "/users", {}, None), 200
        else:
            yield event("GET", f"/users/{user}", {}, None), 200


def extra_headers() -> dict[str, str]:
    """What a measured feature has a client send."""
    headers = {}
    if token := os.environ.get("WITH_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    if os.environ.get("WITH_IDEMPOTENCY_KEY"):
        headers["Idempotency-Key"] = str(uuid.uuid4())
    return headers


def main(peer: str, user: str) -> None:
    # Results go to the standard output of the start; Zappa prints to it later.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(NULL, os.O_WRONLY), 1)
    logging.basicConfig(level=logging.INFO, stream=NULL.open("w"), format="%(message)s")
    try:
        handler = load(peer)
        for line in sys.stdin:
            cell, calls = json.loads(line)
            spent = spend(handler, list(requests(cell, user, calls)))
            found = {"spent": spent * 1000 / calls}
            print(json.dumps(found), file=results, flush=True)
    except Exception as error:
        print(json.dumps({"error": f"{peer}: {error!r}"}), file=results, flush=True)
        raise


def spend(handler: Any, prepared: list[tuple[dict[str, Any], int]]) -> float:
    """CPU seconds of all calls. Raises RuntimeError for an unexpected status."""
    context = SimpleNamespace(aws_request_id="1", function_name="benchmark")
    for made, _ in prepared:
        made["headers"] |= extra_headers()
        made["multiValueHeaders"] = {k: [v] for k, v in made["headers"].items()}
    gc.collect()
    before = time.process_time()
    for made, expected in prepared:
        answer = handler(made, context)
        if answer["statusCode"] != expected:
            raise RuntimeError(str(answer))
    return time.process_time() - before


if __name__ == "__main__":
    main(*sys.argv[1:])
