"""Which endpoint a new connection goes to, and for how long it is tried.

Both endpoints of a multi-Region cluster are the same database. When the local one does
not answer, new connections go to the peer's, until a probe finds the local one well. An
open connection, and so a transaction, never moves.

The probe runs inside a request that needs the database, in little time: a thread would
freeze with Lambda between requests and end by a timeout that nobody was late for.
"""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from functools import cache
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import Error
from django.dispatch import Signal

from .deadlines import asked, left, within
from .retry import Policy
from .tokens import Endpoint

logger = logging.getLogger(__name__)
# Sent with ``endpoint``, where new connections go from now on, and ``reason``.
switched = Signal()
Dial = Callable[[Endpoint], Any]


class ConnectFailure(Enum):
    """Why a connection did not open."""

    BUSY = "busy"  # the cluster lives and asks to come again
    LOST = "lost"  # nothing that speaks for the cluster was reached
    FINAL = "final"  # it was reached and said no: trying again or elsewhere is no cure


# AWS user guide, "Troubleshooting issues in Aurora DSQL". libpq keeps the SQLSTATE of a
# refused login (53300, 53400, XX000) to itself, so the text has to tell.
BUSY_TEXTS = (
    "waking up cluster", "too many open connections", "rate exceeded",
    "server unavailable",
    # PostgreSQL's local, 57P03 and 57P01: it starts, or it stops.
    "the database system is", "terminating connection",
)  # fmt: skip
FINAL_TEXTS = ("FATAL", "certificate")
# How long to go on, in rounds over the endpoints; with the connect timeouts of the last
# round it stays below API Gateway's 29 s.
RETRY_POLICIES = {
    ConnectFailure.BUSY: Policy(base_delay=0.1, max_delay=1.0, budget=10.0),
    ConnectFailure.LOST: Policy(base_delay=0.1, max_delay=0.5, budget=1.0),
}
BUSY_BEFORE_PEER = 2.0  # seconds an endpoint may be busy before the peer is asked
# For so long it is known that an endpoint was busy: the request after a start that gave
# up waiting does not begin to wait anew.
BUSY_MEMORY = 10.0
PROBE_SECONDS = 1.0  # of a request, for a look at the lost endpoint
# A first look comes soon after silence: it may have been one slow statement.
FIRST_PROBE_SECONDS = 2.0


def classify_failure(error: BaseException) -> ConnectFailure:
    text = str(error)
    if any(part in text for part in BUSY_TEXTS):
        return ConnectFailure.BUSY
    if any(part in text for part in FINAL_TEXTS):
        return ConnectFailure.FINAL
    return ConnectFailure.LOST


class Endpoints:
    """What this process knows of the local endpoint and its peer; threads share it."""

    def __init__(
        self,
        local: Endpoint,
        peer: Endpoint | None,
        return_seconds: float,
        *,
        patience: Mapping[ConnectFailure, Policy] = RETRY_POLICIES,
        # Wall clock: the monotonic clock stands still while Lambda is frozen.
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.local, self.peer = local, peer
        self.failed_over = False  # whether new connections go to the peer first
        self._return_seconds = return_seconds
        self._patience = patience
        self._clock, self._sleep = clock, sleep
        self._scheduled_at = self._probe_at = 0.0
        # When each first and last said that it was busy, since it was last reached.
        self._busy: dict[Endpoint, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def connect(self, dial: Dial) -> tuple[Endpoint, Any]:
        """The endpoint that answered and what ``dial`` made of it.

        Raises the local endpoint's psycopg.OperationalError when patience, or the time of
        the request, ends.
        """
        self.probe_if_due(dial)
        waits = {
            trouble: policy.delays(since=policy.clock())
            for trouble, policy in self._patience.items()
        }
        while True:
            failures: dict[Endpoint, psycopg.OperationalError] = {}
            for endpoint in self._order():
                try:
                    found = dial(endpoint)
                except psycopg.OperationalError as error:
                    failures[endpoint] = error
                    if self._stop_round(endpoint, error):
                        break
                else:
                    self._served_by(endpoint, failures)
                    return endpoint, found
            troubles = {classify_failure(error) for error in failures.values()}
            busy = ConnectFailure.BUSY in troubles
            delay = next(
                waits[ConnectFailure.BUSY if busy else ConnectFailure.LOST], None
            )
            if delay is None or delay >= left():
                raise self._summary(failures)
            self._sleep(delay)

    def _order(self) -> tuple[Endpoint, ...]:
        if self.peer is None:
            return (self.local,)
        return (self.peer, self.local) if self.failed_over else (self.local, self.peer)

    def _stop_round(self, endpoint: Endpoint, error: psycopg.OperationalError) -> bool:
        """Whether to wait rather than ask the next. A no of the local endpoint is raised."""
        trouble = classify_failure(error)
        if trouble is ConnectFailure.FINAL and endpoint == self.local:
            raise error
        if trouble is not ConnectFailure.BUSY:
            return False
        now = self._clock()
        since, last = self._busy.get(endpoint, (now, now))
        if not 0 <= now - last <= BUSY_MEMORY:  # below 0 the clock was set back
            since = now
        self._busy[endpoint] = since, now
        return now - since < BUSY_BEFORE_PEER

    def _summary(
        self, failures: dict[Endpoint, psycopg.OperationalError]
    ) -> psycopg.OperationalError:
        first = failures.get(self.local) or next(iter(failures.values()))
        for endpoint, error in failures.items():
            if error is not first:
                first.add_note(f"{endpoint.host}: {error}")
        return first

    def _served_by(
        self, endpoint: Endpoint, failures: dict[Endpoint, psycopg.OperationalError]
    ) -> None:
        self._busy.pop(endpoint, None)
        if endpoint == self.local:
            self._switch(failed_over=False, reason="it was reached")
        elif self.local in failures:
            self._switch(
                failed_over=True, reason=" ".join(str(failures[self.local]).split())
            )

    def leave(self, endpoint: Endpoint, reason: str) -> None:
        """A login there was answered and a statement was not: new ones go to the other."""
        if self.peer is not None:
            self._switch(failed_over=endpoint == self.local, reason=reason, soon=True)

    def _switch(self, *, failed_over: bool, reason: str, soon: bool = False) -> None:
        with self._lock:
            if self.failed_over == failed_over:
                return
            self._schedule(FIRST_PROBE_SECONDS if soon else self._return_seconds)
            self.failed_over = failed_over
        endpoint = self._order()[0]
        log = logger.warning if failed_over else logger.info
        log(
            "%s: new connections go to %s. Reason: %s",
            "Endpoint lost" if failed_over else "Endpoint is back", endpoint.host, reason,
        )  # fmt: skip
        switched.send_robust(Endpoints, endpoint=endpoint, reason=reason)

    @contextmanager
    def avoid_local(self) -> Iterator[None]:
        """Inside, connections go to the peer first: to check the way out."""
        if self.peer is None:
            raise ImproperlyConfigured("There is no peer endpoint to go to.")
        before = self.failed_over, self._probe_at
        self.failed_over, self._probe_at = True, math.inf
        try:
            yield
        finally:
            self.failed_over, self._probe_at = before

    def probe_if_due(self, dial: Dial) -> None:
        """See whether the local endpoint answers again, now and then and in little time."""
        with self._lock:
            now = self._clock()
            # A clock that was set back has not yet come to where it was asked last.
            if not self.failed_over or self._scheduled_at <= now < self._probe_at:
                return
            self._schedule(self._return_seconds)  # whoever comes now need not look too
        try:
            with within(PROBE_SECONDS):
                connection = dial(self.local)
                try:
                    connection.execute("SELECT 1")  # a login alone proves too little
                finally:
                    connection.close()
        except (psycopg.Error, Error, ImproperlyConfigured) as error:
            logger.info("%s still does not answer: %s", self.local.host, error)
        else:
            self._switch(failed_over=False, reason="a probe was answered")

    def _schedule(self, mean: float) -> None:
        """Jitter keeps the processes of a Region from coming back at once."""
        spread = 0.5 + random.random()  # noqa: S311 - jitter
        self._scheduled_at = self._clock()
        self._probe_at = self._scheduled_at + mean * spread


@cache
def endpoints(
    local: Endpoint, peer: Endpoint | None, return_seconds: float
) -> Endpoints:
    """The process's one memory of this pair."""
    return Endpoints(local, peer, return_seconds)


def peer_region() -> str | None:
    """The peer's Region when the request's last statement went there, else None."""
    return asked()
