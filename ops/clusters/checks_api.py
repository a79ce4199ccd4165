"""Checks of the served API, from outside: what a caller sees."""

import json
import time
import uuid
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from ops.clusters.checks import CheckFailed, CheckSkipped
from ops.target import manage

TIMEOUT_SECONDS = 30.0  # API Gateway answers within 29
Latencies = dict[str, list[float]]


class Answer(NamedTuple):
    status: int
    body: Any
    milliseconds: float


def health(url: str, token: str) -> str:
    answer = _call("GET", f"{url}/health", token)
    if answer.status != 200:
        raise CheckFailed(
            f"{url}/health answers {answer.status}: {_short(answer.body)}",
            f"The body names what is missing; {manage('dsql_verify')} --only migrations,login",
        )
    return f"{url}: 200 in {answer.milliseconds:.0f} ms"


def replication(urls: tuple[str, ...], token: str, latencies: Latencies) -> str:
    """Each Region in turn creates a user that the other reads at once."""
    for here, there in (urls[:2], urls[1::-1]):
        email = f"dsql-verify-{uuid.uuid4()}@example.invalid"
        made = _call(
            "POST", f"{here}/users", token, {"name": "dsql_verify", "email": email}
        )
        if made.status == 401 and not token:
            raise CheckSkipped(
                "The API asks for a token: set API_TOKEN, with users:read and users:write."
            )
        if made.status != 201:
            hint = (
                "Give a token that may write: --api-token"
                if made.status in {401, 403}
                else ""
            )
            raise CheckFailed(
                f"POST {here}/users answers {made.status}: {_short(made.body)}", hint
            )
        name = quote(str(made.body["id"]))
        try:
            seen = _call("GET", f"{there}/users/{name}", token)
        finally:
            gone = _call("DELETE", f"{here}/users/{name}", token)
        latencies.setdefault("POST", []).append(made.milliseconds)
        latencies.setdefault("GET", []).append(seen.milliseconds)
        if seen.status != 200 or seen.body.get("email") != email:
            raise CheckFailed(
                f"GET {there}/users/{name} answers {seen.status} right after the POST in the "
                f"other Region: {_short(seen.body)}",
                f"Do both APIs serve the same database? {manage('dsql_status')}",
            )
        if gone.status != 204:
            raise CheckFailed(f"DELETE {here}/users/{name} answers {gone.status}.")
    return "POST in each Region, GET in the other: found at once"


def _call(method: str, url: str, token: str, body: Any = None) -> Answer:
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
        with urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 - as above
            status, content = response.status, response.read()
    except HTTPError as error:
        status, content = error.code, error.read()
    except (OSError, HTTPException) as error:
        raise CheckFailed(
            f"{method} {url}: {error}", f"Check the URL with: {manage('dsql_status')}"
        ) from error
    milliseconds = (time.perf_counter() - started) * 1000
    try:
        return Answer(status, json.loads(content or b"null"), milliseconds)
    except ValueError:
        return Answer(status, content.decode(errors="replace"), milliseconds)


def _short(body: Any) -> str:
    text = body if isinstance(body, str) else json.dumps(body)
    return text[:200]
