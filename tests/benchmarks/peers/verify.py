"""Whether a peer does the same as the others, before it is measured; and in how many trips."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.benchmarks.peers.events import CELLS, Event, build_event, build_events
from tests.benchmarks.peers.function import Function, PeerFailed
from tests.wire import Wire

WARM_UP = 8
UNKNOWN = "00000000-0000-4000-8000-000000000000"
Expected = list[dict[str, Any]]  # users, newest first


def verify(function: Function, newest: Expected) -> None:
    """Raises PeerFailed naming what is different."""
    user = newest[3]
    path = f"/users/{user['id']}"
    _check(function, build_event("GET", "/health/live"), 200)
    _same(function, _check(function, build_event("GET", path), 200), user)
    _check(function, build_event("GET", f"/users/{UNKNOWN}"), 404)
    _verify_pages(function, newest)
    _verify_writes(function, path, user)


def _verify_pages(function: Function, newest: Expected) -> None:
    query = {"limit": "50"}
    for first in (0, 50):
        page = _check(function, build_event("GET", "/users", query), 200)
        expected = newest[first : first + 50]
        if page["count"] != 50 or len(page["users"]) != 50:
            raise PeerFailed(f"{function.name}: {page['count']} users in a page")
        for shown, user in zip(page["users"], expected, strict=True):
            _same(function, shown, user)
        query = dict(parse_qsl(urlsplit(page["next"]).query))


def _verify_writes(function: Function, path: str, user: Mapping[str, Any]) -> None:
    [creation] = build_events("POST", user["id"], 1)
    created = _check(function, creation, 201)
    location = f"/users/{created['id']}"
    _same(function, _check(function, build_event("GET", location), 200), created)
    _check(function, creation, 409)
    for body in ({"name": "", "email": "ada@example.com"}, {"name": "A", "email": "A"}):
        _check(function, build_event("POST", "/users", body=body), 400, 422)
    [patch] = build_events("PATCH", user["id"], 1)
    changed = _check(function, patch, 200)
    if _parse_time(changed["updated_at"]) <= _parse_time(user["updated_at"]):
        raise PeerFailed(f"{function.name}: a PATCH left updated_at as it was")
    renamed = {**user, "name": changed["name"], "updated_at": changed["updated_at"]}
    _same(function, changed, renamed)
    if changed["name"] == user["name"]:
        raise PeerFailed(f"{function.name}: a PATCH left the name as it was")
    missing = build_event("PATCH", f"/users/{UNKNOWN}", body={"name": "Ada"})
    _check(function, missing, 404)


def _check(function: Function, event: Event, *statuses: int) -> Any:
    seen = function.invoke([event])
    if seen.statuses[0] not in statuses:
        raise PeerFailed(
            f"{function.name}: {event['httpMethod']} {event['path']} gave "
            f"{seen.statuses[0]}, not {statuses[0]}: {seen.response}"
        )
    return seen.content


def _same(function: Function, shown: Any, user: Mapping[str, Any]) -> None:
    for field in ("id", "name", "email", "created_at", "updated_at"):
        is_time = field.endswith("_at")
        values = [_parse_time(v[field]) if is_time else v[field] for v in (shown, user)]
        if values[0] != values[1]:
            raise PeerFailed(
                f"{function.name}: {field} is {shown[field]}, not {user[field]}"
            )


def _parse_time(text: str) -> datetime:
    """To the millisecond: django-ninja's encoder cuts the rest off."""
    exact = datetime.fromisoformat(text)
    return exact.replace(microsecond=exact.microsecond // 1000 * 1000)


def count_round_trips(function: Function, wire: Wire, user: str) -> dict[str, int]:
    """Of one warm request of each kind; the function is connected through the wire."""
    trips = {}
    for cell in CELLS:
        function.invoke(build_events(cell, user, WARM_UP))
        wire.reset()
        function.invoke(build_events(cell, user, 1))
        trips[cell] = wire.round_trips
    return trips
