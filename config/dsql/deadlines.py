"""How long the database is waited for: DSQL has no statement_timeout, so the client counts.

A statement, a new connection and a request each have a time, set in OPTIONS. What was
waited for longer ends with NoResponse and its connection is closed, because nobody can
tell what still arrives on it.

Time in which the process itself stood still (Lambda freezes it between requests) is not
the server's silence. It shows in a single step that took much longer than a step may,
and only COUNTED seconds of such a step are counted.
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
STEP = 0.1  # seconds after which whoever waits looks up, as psycopg does
COUNTED = 1.0


class NoResponse(psycopg.OperationalError):
    """The server was silent for as long as it may be; the connection is closed."""


class OutOfTime(OperationalError):
    """The time of the work under way is over; the statement was not sent."""


@dataclass(slots=True)
class Work:
    """A request, or what stands inside ``within()``, and the Region it last asked."""

    seconds: float = math.inf
    step: float = math.inf  # the most that one answer may take
    outer: "Work | None" = None
    started: float = field(default_factory=lambda: monotonic())
    frozen: float = 0.0
    asked: str | None = None

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
            if not streaming:  # else the database is asked until it is closed
                _current.reset(mark)
        return response


def _end_request(**_: Any) -> None:
    _current.set(None)


request_finished.connect(_end_request, dispatch_uid=__name__)


@contextmanager
def within(seconds: float, *, step: float = math.inf) -> Iterator[None]:
    """Inside, the database is waited for so long in all, and ``step`` for one answer."""
    mark = _current.set(Work(seconds, step, _current.get()))
    try:
        yield
    finally:
        _current.reset(mark)


def left() -> float:
    """Seconds until the work under way has to end; infinite outside of any."""
    work = _current.get()
    return math.inf if work is None else work.left()


def require_time() -> None:
    """Raise OutOfTime when nothing may be begun any more."""
    if left() <= 0:
        raise OutOfTime("The time of the request is over. The statement was not sent.")


def note_region(region: str | None) -> None:
    """Remember where the statement about to be sent goes."""
    work = _current.get()
    for each in work.chain() if work is not None else ():
        each.asked = region


def asked() -> str | None:
    """The Region noted last by the work under way."""
    work = _current.get()
    return None if work is None else work.asked


@dataclass(slots=True)
class Allowance:
    """The seconds that an answer may take. ``renewed`` by every piece of it that comes."""

    seconds: float
    renewed: bool = False
    spent: float = 0.0

    @property
    def left(self) -> float:
        return self.seconds - self.spent

    def spend(self, step: float) -> None:
        """Count a step, of which only COUNTED seconds can be the server's."""
        if step > COUNTED:
            _thaw(step - COUNTED)
            step = COUNTED
        self.spent += step


@dataclass(slots=True)
class Limits:
    """The times of one database's connections; infinite where there is no limit."""

    statement: float = math.inf
    login: float = math.inf
    request: float = math.inf
    suspended: int = 0  # by so many blocks that change the schema
    migrating: bool = False

    def for_statement(self) -> Allowance | None:
        """None without a limit.

        In a request the whole answer counts. Elsewhere a large result may take its time,
        as long as it keeps coming.
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
        """What the work has left, which lasts no longer than a request to this database."""
        work = _current.get()
        if work is None:
            return math.inf
        for each in work.chain():  # the outermost began first
            each.seconds = min(each.seconds, self.request)
        return work.left()


def bounded(
    waiting: Generator[Any, Any, Result], allowance: Allowance
) -> Generator[Any, Any, Result]:
    """The same steps of psycopg, ended by NoResponse when the allowance is spent.

    What has arrived is read before time is looked at, so that an answer which came while
    the process was frozen counts.
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
                    f"No answer of the server in {allowance.seconds:.1f} s."
                )
    except StopIteration as end:
        result: Result = end.value
        return result


def _thaw(seconds: float) -> None:
    work = _current.get()
    for each in work.chain() if work is not None else ():
        each.frozen += seconds
