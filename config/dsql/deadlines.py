"""Time limits: DSQL has no statement_timeout, so the client measures.

OPTIONS limit the time of a statement, of a new connection and of a request. A wait beyond
its limit ends with NoResponse, and the connection is closed, because its state is unknown.

Time in which the process itself was frozen (by Lambda, between requests) does not count.
A freeze shows as a single step much longer than a step can be; of such a step only
COUNTED_SECONDS count.
"""

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TypeVar

import psycopg
from django.core.signals import request_finished
from django.db import OperationalError
from django.http import HttpRequest, HttpResponseBase

Result = TypeVar("Result")
STEP = 0.1  # seconds between two looks at the clock while waiting, as in psycopg
COUNTED_SECONDS = 1.0


class NoResponse(psycopg.OperationalError):
    """The server did not respond within the limit; the connection is closed."""


class OutOfTime(OperationalError):
    """The time of the request is over; the statement was not sent."""


@dataclass(slots=True)
class Work:
    """A request, or the block inside ``within()``, and the Region of its last statement."""

    seconds: float = math.inf
    step: float = math.inf  # the longest that one response may take
    outer: "Work | None" = None
    started: float = field(default_factory=lambda: monotonic())
    frozen: float = 0.0
    region: str | None = None

    def left(self) -> float:
        own = self.seconds - (monotonic() - self.started - self.frozen)
        return own if self.outer is None else min(own, self.outer.left())

    def chain(self) -> Iterator["Work"]:
        work: Work | None = self
        while work is not None:
            yield work
            work = work.outer


_current: ContextVar[Work | None] = ContextVar("work", default=None)


class RequestDeadline:
    """Middleware: each request has ``request_seconds`` of OPTIONS for the database."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        mark = _current.set(Work())
        streaming = False
        try:
            response = self.get_response(request)
            streaming = response.streaming
        finally:
            if not streaming:  # else statements may be sent until it is closed
                _current.reset(mark)
        return response


def _end_request(**_: Any) -> None:
    _current.set(None)


request_finished.connect(_end_request, dispatch_uid=__name__)


@contextmanager
def within(seconds: float, *, step: float = math.inf) -> Iterator[None]:
    """Inside, limit the time for the database in all, and to ``step`` for one response."""
    mark = _current.set(Work(seconds, step, _current.get()))
    try:
        yield
    finally:
        _current.reset(mark)


def time_left() -> float:
    """Seconds until the request or block under way must end; infinite outside of any."""
    work = _current.get()
    return math.inf if work is None else work.left()


def require_time() -> None:
    """Raise OutOfTime when the time of the request is over."""
    if time_left() <= 0:
        raise OutOfTime("The time of the request is over. The statement was not sent.")


def note_region(region: str | None) -> None:
    """Remember the Region that the next statement is sent to."""
    work = _current.get()
    for each in work.chain() if work is not None else ():
        each.region = region


def last_region() -> str | None:
    """The Region of the last statement of the request under way."""
    work = _current.get()
    return None if work is None else work.region


@dataclass(slots=True)
class Allowance:
    """The seconds that a response may take; each part of it that arrives may renew them."""

    seconds: float
    renewed: bool = False
    spent: float = 0.0

    @property
    def left(self) -> float:
        return self.seconds - self.spent

    def spend(self, step: float) -> None:
        """Count a step, but no more than COUNTED_SECONDS of it."""
        if step > COUNTED_SECONDS:
            _note_freeze(step - COUNTED_SECONDS)
            step = COUNTED_SECONDS
        self.spent += step


@dataclass(slots=True)
class Limits:
    """The limits of one database's connections; infinite where there is none."""

    statement: float = math.inf
    login: float = math.inf
    request: float = math.inf
    suspended: int = 0  # number of open blocks that change the schema
    migrating: bool = False

    def for_statement(self) -> Allowance | None:
        """None without a limit.

        In a request the whole response counts. Elsewhere a large result may take any time
        as long as parts of it keep arriving.
        """
        if self.suspended or self.migrating:
            return None
        left = self._left()
        work = _current.get()
        if work is not None:
            return Allowance(min(self.statement, work.step, left))
        return None if self.statement == math.inf else Allowance(self.statement, True)

    def for_connection(self) -> Allowance:
        work = _current.get()
        step = math.inf if work is None else work.step
        return Allowance(min(self.login, step, self._left()))

    def _left(self) -> float:
        """The time left for the work, at most that of a request to this database."""
        work = _current.get()
        if work is None:
            return math.inf
        for each in work.chain():  # the outermost began first
            each.seconds = min(each.seconds, self.request)
        return work.left()


def bound_waiting(
    waiting: Generator[Any, Any, Result], allowance: Allowance
) -> Generator[Any, Any, Result]:
    """Run psycopg's steps, and end them with NoResponse when the allowance is spent.

    Data that has arrived is read before the clock, so a response that came while the
    process was frozen is accepted.
    """
    try:
        wanted = next(waiting)
        while True:
            before = monotonic()
            ready = yield wanted
            allowance.spend(monotonic() - before)
            wanted = waiting.send(ready)
            if ready and allowance.renewed:
                allowance.spent = 0.0
            elif allowance.spent >= allowance.seconds:
                raise NoResponse(
                    f"No response of the server in {allowance.seconds:.1f} s."
                )
    except StopIteration as end:
        result: Result = end.value
        return result


def _note_freeze(seconds: float) -> None:
    work = _current.get()
    for each in work.chain() if work is not None else ():
        each.frozen += seconds
