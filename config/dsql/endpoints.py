"""Which endpoint a new connection goes to, and for how long it is tried.

Both endpoints of a multi-Region cluster are the same database. When the own one does
not answer, new connections go to the peer's, until a probe in the background finds the
own one well. An open connection, and so a transaction, never moves.
"""

import logging
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
from django.db import connections
from django.dispatch import Signal

from config.dsql.retry import Policy
from config.dsql.tokens import Endpoint

logger = logging.getLogger(__name__)
# Sent with ``endpoint``, where new connections go from now on, and ``reason``.
switched = Signal()
Dial = Callable[[Endpoint], Any]


class Trouble(Enum):
    """Why a connection did not open."""

    BUSY = "busy"  # the cluster lives and asks to come again
    LOST = "lost"  # nothing that speaks for the cluster was reached
    FINAL = "final"  # it was reached and said no: trying again or elsewhere is no cure


# AWS user guide, "Troubleshooting issues in Aurora DSQL". libpq keeps the SQLSTATE of a
# refused login (53300, 53400, XX000) to itself, so the text has to tell.
BUSY_TEXTS = (
    "waking up cluster", "too many open connections", "rate exceeded",
    "server unavailable",
)  # fmt: skip
FINAL_TEXTS = ("FATAL", "certificate")
# How long to go on, in rounds over the endpoints; with the connect timeouts of the last
# round it stays below API Gateway's 29 s.
PATIENCE = {
    Trouble.BUSY: Policy(base_delay=0.1, max_delay=1.0, budget=10.0),
    Trouble.LOST: Policy(base_delay=0.1, max_delay=0.5, budget=1.0),
}
BUSY_BEFORE_PEER = 2.0  # seconds an endpoint may be busy before the peer is asked
RETURN_SECONDS = 15.0  # mean time between two probes of a lost endpoint


def trouble_of(error: BaseException) -> Trouble:
    text = str(error)
    if any(part in text for part in BUSY_TEXTS):
        return Trouble.BUSY
    if any(part in text for part in FINAL_TEXTS):
        return Trouble.FINAL
    return Trouble.LOST


def in_background(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True, name="dsql-probe").start()


class Endpoints:
    """What this process knows of the own endpoint and its peer; threads share it."""

    def __init__(
        self,
        own: Endpoint,
        peer: Endpoint | None = None,
        return_seconds: float = RETURN_SECONDS,
        *,
        patience: Mapping[Trouble, Policy] = PATIENCE,
        # Wall clock: the monotonic clock stands still while Lambda is frozen.
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        spawn: Callable[[Callable[[], None]], None] = in_background,
    ) -> None:
        self.own, self.peer = own, peer
        self.away = False  # whether new connections go to the peer first
        self._return_seconds = return_seconds
        self._patience = patience
        self._clock, self._sleep, self._spawn = clock, sleep, spawn
        self._probe_at = 0.0
        self._probing = False
        self._lock = threading.Lock()

    def connect(self, dial: Dial) -> tuple[Endpoint, Any]:
        """The endpoint that answered and what ``dial`` made of it.

        Raises the own endpoint's psycopg.OperationalError when patience ends.
        """
        waits = {trouble: policy.delays() for trouble, policy in self._patience.items()}
        started = self._clock()
        while True:
            patient = self._clock() - started < BUSY_BEFORE_PEER
            failures: dict[Endpoint, psycopg.OperationalError] = {}
            for endpoint in self._order():
                try:
                    found = dial(endpoint)
                except psycopg.OperationalError as error:
                    failures[endpoint] = error
                    if self._stop_round(endpoint, error, patient=patient):
                        break
                else:
                    self._served_by(endpoint, failures)
                    return endpoint, found
            troubles = {trouble_of(error) for error in failures.values()}
            busy = Trouble.BUSY in troubles
            delay = next(waits[Trouble.BUSY if busy else Trouble.LOST], None)
            if delay is None:
                raise self._summary(failures)
            self._sleep(delay)

    def _order(self) -> tuple[Endpoint, ...]:
        if self.peer is None:
            return (self.own,)
        return (self.peer, self.own) if self.away else (self.own, self.peer)

    def _stop_round(
        self, endpoint: Endpoint, error: psycopg.OperationalError, *, patient: bool
    ) -> bool:
        """Whether to wait rather than ask the next. A no of the own endpoint is raised."""
        trouble = trouble_of(error)
        if trouble is Trouble.FINAL and endpoint == self.own:
            raise error
        return trouble is Trouble.BUSY and patient

    def _summary(
        self, failures: dict[Endpoint, psycopg.OperationalError]
    ) -> psycopg.OperationalError:
        first = failures.get(self.own) or next(iter(failures.values()))
        for endpoint, error in failures.items():
            if error is not first:
                first.add_note(f"{endpoint.host}: {error}")
        return first

    def _served_by(
        self, endpoint: Endpoint, failures: dict[Endpoint, psycopg.OperationalError]
    ) -> None:
        if endpoint == self.own:
            self._switch(away=False, reason="it was reached")
        elif self.own in failures:
            self._switch(away=True, reason=" ".join(str(failures[self.own]).split()))

    def _switch(self, *, away: bool, reason: str) -> None:
        with self._lock:
            if self.away == away:
                return
            self.away = away
            self._schedule()
        endpoint = self._order()[0]
        log = logger.warning if away else logger.info
        log(
            "%s: new connections go to %s. Reason: %s",
            "Endpoint lost" if away else "Endpoint is back", endpoint.host, reason,
        )  # fmt: skip
        switched.send(Endpoints, endpoint=endpoint, reason=reason)

    @contextmanager
    def without_own(self) -> Iterator[None]:
        """Inside, connections go to the peer first: to check the way out."""
        if self.peer is None:
            raise ImproperlyConfigured("There is no peer endpoint to go to.")
        self.away = True
        try:
            yield
        finally:
            self.away = False

    def probe_if_due(self, dial: Dial) -> None:
        """See in the background whether the own endpoint answers; one probe at a time."""
        with self._lock:
            if not self.away or self._probing or self._clock() < self._probe_at:
                return
            self._probing = True
        self._spawn(lambda: self._probe(dial))

    def _probe(self, dial: Dial) -> None:
        try:
            dial(self.own).close()
        except (psycopg.Error, ImproperlyConfigured) as error:
            logger.info("%s still does not answer: %s", self.own.host, error)
        else:
            self._switch(away=False, reason="a probe was answered")
        finally:
            with self._lock:
                self._probing = False
                self._schedule()

    def _schedule(self) -> None:
        """Jitter keeps the processes of a Region from coming back at once."""
        spread = 0.5 + random.random()  # noqa: S311 - jitter
        self._probe_at = self._clock() + self._return_seconds * spread


@cache
def endpoints(own: Endpoint, peer: Endpoint | None, return_seconds: float) -> Endpoints:
    """The process's one memory of this pair."""
    return Endpoints(own, peer, return_seconds)


def peer_region(using: str = "default") -> str | None:
    """The peer's Region while this thread's connection goes there, else None."""
    return getattr(connections[using], "peer_region", None)
