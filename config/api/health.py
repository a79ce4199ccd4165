"""Whether this Region can serve: its database responds and has every migration."""

import threading
import time
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from django.db import Error, ProgrammingError
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from config.api.failures import FAILURES
from config.api.region import peer_origin, serving_region
from config.api.responses import json_response
from config.api.views import safe
from config.dsql.conflicts import sqlstates
from config.dsql.deadlines import within

UNDEFINED_TABLE = "42P01"
# Health checkers wait briefly: time for a silent endpoint, and for the peer's login and
# response.
HEALTH_SECONDS, STEP_SECONDS = 2.6, 0.8
CACHE_SECONDS = 1.0


class State(NamedTuple):
    database: str
    schema: str


class CachedState:
    """The state that ``probe`` finds, probed at most once a second.

    Requests for health are not limited, and many checkers send them at once.
    """

    def __init__(
        self, probe: Callable[[], State], clock: Callable[[], float] = time.time
    ) -> None:
        # Wall clock: the monotonic clock stands still while Lambda is frozen.
        self._probe, self._clock = probe, clock
        self._lock = threading.Lock()  # those who come meanwhile get the same result
        self._state: State | None = None
        self._at = 0.0

    def get(self) -> State:
        with self._lock:
            age = self._clock() - self._at
            if self._state is None or not 0 <= age < CACHE_SECONDS:
                self._state = self._probe()
                self._at = self._clock()
            return self._state

    def clear(self) -> None:
        with self._lock:
            self._state = None


def probe() -> State:
    """Probe the database: one round trip."""
    try:
        with within(HEALTH_SECONDS, step=STEP_SECONDS):
            behind = unapplied()
    except Error as error:
        FAILURES.write("health", error)
        return State("unreachable", "unknown")
    return State("ok", "behind" if behind else "current")


STATE = CachedState(probe)


@safe
def health(request: HttpRequest) -> HttpResponse:
    """200, or 503 naming what is wrong."""
    return _readable_by_peer(request, _respond(*STATE.get()))


def _readable_by_peer(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """The other Region's page may read it, whatever other origins CORS allows."""
    if origin := peer_origin():
        patch_vary_headers(response, ["Origin"])
        if request.headers.get("Origin") == origin:
            response["Access-Control-Allow-Origin"] = origin
    return response


def _respond(database: str, schema: str) -> HttpResponse:
    well = (database, schema) == ("ok", "current")
    content = {
        "status": "ok" if well else "unavailable",
        "region": serving_region(),
        "database": database,
        "schema": schema,
    }
    if well:
        return json_response(content)
    return json_response(content, status=503, headers={"Retry-After": "1"})


@cache
def _known() -> frozenset[tuple[str, str]]:
    """The migrations of the code, which does not change while it runs."""
    return frozenset(MigrationLoader(None, ignore_no_migrations=True).disk_migrations)


def unapplied(using: str = "default") -> list[str]:
    """Names of the migrations the code has and the database has not."""
    rows = MigrationRecorder.Migration.objects.using(using).values_list("app", "name")
    try:
        applied = set(rows)
    except ProgrammingError as error:
        if UNDEFINED_TABLE not in sqlstates(error):
            raise
        applied = set()
    return sorted(f"{app}.{name}" for app, name in _known() - applied)
