"""Choose the endpoint of a new connection, and how long to try it.

Both endpoints of a multi-Region cluster are the same database. When the local endpoint
does not respond, new connections fail over to the peer endpoint until a probe of the local
one succeeds. An open connection, and so a transaction, never moves.

The probe runs inside a request that needs the database and is bounded in time. A thread
would freeze with Lambda between requests, and time out although the endpoint is healthy.
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

from .deadlines import last_region, time_left, within
from .retry import Policy
from .tokens import Endpoint

logger = logging.getLogger(__name__)
# Sent with ``endpoint``, where new connections go from now on, and ``reason``.
switched = Signal()
Dial = Callable[[Endpoint], Any]


class ConnectFailure(Enum):
    """Why a connection did not open."""

    BUSY = "busy"  # the cluster responds, and wants the client to try again
    UNREACHABLE = "unreachable"  # nothing that belongs to the cluster responded
    REFUSED = "refused"  # it refused the login: repeating it, here or there, is no help


# AWS user guide, "Troubleshooting issues in Aurora DSQL". libpq does not expose the
# SQLSTATE of a refused login (53300, 53400, XX000), so its text decides.
BUSY_TEXTS = (
    "waking up cluster", "too many open connections", "rate exceeded",
    "server unavailable",
    # PostgreSQL's own, 57P03 and 57P01: it is starting or stopping.
    "the database system is", "terminating connection",
)  # fmt: skip
REFUSED_TEXTS = ("FATAL", "certificate")
# How long to try, in rounds over the endpoints. With the connect timeouts of the last
# round the total stays below API Gateway's 29 s.
RETRY_POLICIES = {
    ConnectFailure.BUSY: Policy(base_delay=0.1, max_delay=1.0, budget=10.0),
    ConnectFailure.UNREACHABLE: Policy(base_delay=0.1, max_delay=0.5, budget=1.0),
}
BUSY_BEFORE_PEER = 2.0  # seconds an endpoint may be busy before the peer is tried
# Seconds for which a busy endpoint is remembered: when a start gives up waiting, the next
# request does not wait all over again.
BUSY_MEMORY = 10.0
PROBE_SECONDS = 1.0  # of a request, for a probe of the lost endpoint
# The first probe after a silence comes soon: it may have been one slow statement.
FIRST_PROBE_SECONDS = 2.0


def classify_failure(error: BaseException) -> ConnectFailure:
    text = str(error)
    if any(part in text for part in BUSY_TEXTS):
        return ConnectFailure.BUSY
    if any(part in text for part in REFUSED_TEXTS):
        return ConnectFailure.REFUSED
    return ConnectFailure.UNREACHABLE


class Endpoints:
    """The state of the local endpoint and its peer in this process; threads share it."""

    def __init__(
        self,
        local: Endpoint,
        peer: Endpoint | None,
        return_seconds: float,
        *,
        policies: Mapping[ConnectFailure, Policy] = RETRY_POLICIES,
        # Wall clock: the monotonic clock stands still while Lambda is frozen.
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.local, self.peer = local, peer
        self.failed_over = False  # whether new connections go to the peer first
        self._return_seconds = return_seconds
        self._policies = policies
        self._clock, self._sleep = clock, sleep
        self._scheduled_at = self._probe_at = 0.0
        # When each was first and last busy since it was last reached.
        self._busy: dict[Endpoint, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def connect(self, dial: Dial) -> tuple[Endpoint, Any]:
        """The endpoint that responded, and the connection that ``dial`` opened to it.

        Raises the local endpoint's psycopg.OperationalError when the policy's budget, or
        the time of the request, is spent.
        """
        self.probe_if_due(dial)
        waits = {
            failure: policy.delays(since=policy.clock())
            for failure, policy in self._policies.items()
        }
        while True:
            failures: dict[Endpoint, psycopg.OperationalError] = {}
            for endpoint in self._order():
                try:
                    connection = dial(endpoint)
                except psycopg.OperationalError as error:
                    failures[endpoint] = error
                    if self._stop_round(endpoint, error):
                        break
                else:
                    self._served_by(endpoint, failures)
                    return endpoint, connection
            kinds = {classify_failure(error) for error in failures.values()}
            busy = ConnectFailure.BUSY in kinds
            delay = next(
                waits[ConnectFailure.BUSY if busy else ConnectFailure.UNREACHABLE], None
            )
            if delay is None or delay >= time_left():
                raise self._summary(failures)
            self._sleep(delay)

    def _order(self) -> tuple[Endpoint, ...]:
        if self.peer is None:
            return (self.local,)
        return (self.peer, self.local) if self.failed_over else (self.local, self.peer)

    def _stop_round(self, endpoint: Endpoint, error: psycopg.OperationalError) -> bool:
        """Whether to wait rather than try the next; raises a refusal of the local endpoint."""
        failure = classify_failure(error)
        if failure is ConnectFailure.REFUSED and endpoint == self.local:
            raise error
        if failure is not ConnectFailure.BUSY:
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
        """Send new connections to the peer endpoint: this one accepts logins only."""
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
        """Inside, connections go to the peer first: to check the failover."""
        if self.peer is None:
            raise ImproperlyConfigured("There is no peer endpoint to fail over to.")
        before = self.failed_over, self._probe_at
        self.failed_over, self._probe_at = True, math.inf
        try:
            yield
        finally:
            self.failed_over, self._probe_at = before

    def probe_if_due(self, dial: Dial) -> None:
        """Probe the local endpoint after a failover, from time to time and briefly."""
        with self._lock:
            now = self._clock()
            # A clock that was set back is before the time of the last probe.
            if not self.failed_over or self._scheduled_at <= now < self._probe_at:
                return
            self._schedule(self._return_seconds)  # other threads need not probe as well
        try:
            with within(PROBE_SECONDS):
                connection = dial(self.local)
                try:
                    connection.execute("SELECT 1")  # a login alone proves too little
                finally:
                    connection.close()
        except (psycopg.Error, Error, ImproperlyConfigured) as error:
            logger.info("%s still does not respond: %s", self.local.host, error)
        else:
            self._switch(failed_over=False, reason="a probe succeeded")

    def _schedule(self, mean: float) -> None:
        """Jitter keeps the processes of a Region from returning all at once."""
        spread = 0.5 + random.random()  # noqa: S311 - jitter
        self._scheduled_at = self._clock()
        self._probe_at = self._scheduled_at + mean * spread


@cache
def endpoints(
    local: Endpoint, peer: Endpoint | None, return_seconds: float
) -> Endpoints:
    """The state of this pair, one for the whole process."""
    return Endpoints(local, peer, return_seconds)


def peer_region() -> str | None:
    """The peer's Region if the request's last statement was sent there, else None."""
    return last_region()
