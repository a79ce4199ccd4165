"""Checks of the served API from outside, as a caller sees it."""

import json
import time
import uuid
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from ops.clusters.outcomes import CheckFailed, CheckSkipped
from ops.target import manage

TIMEOUT_SECONDS = 30.0  # API Gateway responds within 29
Latencies = dict[str, list[float]]


class Response(NamedTuple):
    status: int
    body: Any
    milliseconds: float


def health(url: str, token: str) -> str:
    response = _call("GET", f"{url}/health", token)
    if response.status != 200:
        raise CheckFailed(
            f"{url}/health responds {response.status}: {_short(response.body)}",
            f"The body says what is missing; {manage('dsql_verify')} --only migrations,login",
        )
    return f"{url}: 200 in {response.milliseconds:.0f} ms"


def replication(urls: tuple[str, ...], token: str, latencies: Latencies) -> str:
    """Each Region in turn creates a user that the other reads at once."""
    for here, there in (urls[:2], urls[1::-1]):
        email = f"dsql-verify-{uuid.uuid4()}@example.invalid"
        created = _call(
            "POST", f"{here}/users", token, {"name": "dsql_verify", "email": email}
        )
        if created.status == 401 and not token:
            raise CheckSkipped(
                "The API requires a token: set API_TOKEN, with users:read and users:write."
            )
        if created.status != 201:
            hint = (
                "Give a token that may write: --api-token"
                if created.status in {401, 403}
                else ""
            )
            raise CheckFailed(
                f"POST {here}/users responds {created.status}: {_short(created.body)}",
                hint,
            )
        name = quote(str(created.body["id"]))
        try:
            seen = _call("GET", f"{there}/users/{name}", token)
        finally:
            deleted = _call("DELETE", f"{here}/users/{name}", token)
        latencies.setdefault("POST", []).append(created.milliseconds)
        latencies.setdefault("GET", []).append(seen.milliseconds)
        if seen.status != 200 or seen.body.get("email") != email:
            raise CheckFailed(
                f"GET {there}/users/{name} responds {seen.status} right after the POST in the "
                f"other Region: {_short(seen.body)}",
                f"Check that both APIs serve the same database: {manage('dsql_status')}",
            )
        if deleted.status != 204:
            raise CheckFailed(f"DELETE {here}/users/{name} responds {deleted.status}.")
    return "POST in each Region, GET in the other: found at once"


def _call(method: str, url: str, token: str, body: Any = None) -> Response:
    headers = {"Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        data = json.dumps(body).encode()
    request = Request(url, data, headers, method=method)  # noqa: S310 - http(s) only, checked
    started = time.perf_counter()
    try:
        with urlopen(request, timeout=TIMEOUT_SECONDS) as opened:  # noqa: S310 - as above
            status, content = opened.status, opened.read()
    except HTTPError as error:
        status, content = error.code, error.read()
    except (OSError, HTTPException) as error:
        raise CheckFailed(
            f"{method} {url}: {error}", f"Check the URL with: {manage('dsql_status')}"
        ) from error
    milliseconds = (time.perf_counter() - started) * 1000
    try:
        return Response(status, json.loads(content or b"null"), milliseconds)
    except ValueError:
        return Response(status, content.decode(errors="replace"), milliseconds)


def _short(body: Any) -> str:
    text = body if isinstance(body, str) else json.dumps(body)
    return text[:200]
