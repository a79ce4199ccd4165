"""The retry rule: the backend repeats single statements, run_transaction repeats blocks.

RetryConflicts (middleware.py) repeats whole requests. All follow one policy.
"""

import itertools
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import Error, OperationalError, transaction

from .conflicts import (
    ConnectionLost,
    OutcomeUnknown,
    ServerUnavailable,
    causes,
    is_conflict,
    sqlstates,
)
from .deadlines import time_left
from .signals import conflict_retried

Result = TypeVar("Result")
OnRetry = Callable[[int, float, BaseException], None]
SCHEMA_CHANGED = "(OC001)"  # in the text: OC000 has the same SQLSTATE
# A column that changes its type has no name for some milliseconds (ddl/type_change.py). Where it
# never had one, the error comes a moment later.
UNDEFINED_COLUMN, COLUMN_DELAYS = "42703", (0.01, 0.03, 0.09)
# Whether a repeat is under way: the outermost one repeats, those inside run once.
_repeating: ContextVar[bool] = ContextVar("repeating", default=False)
_effects: ContextVar["Effects | None"] = ContextVar("effects", default=None)


class ConflictRetriesExhausted(OperationalError):
    """Attempts kept conflicting until the budget was spent; the last error is the cause."""


@dataclass(slots=True)
class Effects:
    """What a request under way has done that a repeat would do a second time."""

    committed: bool = False  # or perhaps: its outcome is unknown; or a hook has run


def note_commit() -> None:
    """Remember that a change was committed, or its outcome is unknown, or a hook runs."""
    effects = _effects.get()
    if effects is not None:
        effects.committed = True


@contextmanager
def watch_effects() -> Iterator[Effects]:
    """Inside, the backend notes what is committed, on each of its connections."""
    effects = Effects()
    mark = _effects.set(effects)
    try:
        yield effects
    finally:
        _effects.reset(mark)


class CommitHooks:
    """The hooks of ``transaction.on_commit()``: what follows one is never repeated.

    Stands before Django's class of a connection.
    """

    run_on_commit: list[Any]

    def on_commit(self, func: Callable[[], object], robust: bool = False) -> None:
        connection: Any = self
        if not connection.in_atomic_block and connection.get_autocommit():
            note_commit()  # it runs now
        super().on_commit(func, robust)  # type: ignore[misc]  # Django's class has it

    def run_and_clear_commit_hooks(self) -> None:
        if self.run_on_commit:
            note_commit()
        try:
            super().run_and_clear_commit_hooks()  # type: ignore[misc]  # as above
        except Error as error:
            error.after_commit = True  # type: ignore[attr-defined]  # is_after_commit()
            raise


def is_after_commit(error: BaseException) -> bool:
    """Whether a hook ended with this error: its transaction was committed before."""
    return any(getattr(link, "after_commit", False) for link in causes(error))


@dataclass(frozen=True, slots=True)
class Policy:
    """How long to retry. All times are seconds.

    The budget bounds the waiting and lies below API Gateway's 29 s. Delays follow
    "full jitter" on a doubling base, as in the user guide's retry pattern. After OC001
    the session knows the new schema, so there is nothing to wait for; while others keep
    changing the schema, a longer wait only meets the next change.
    """

    base_delay: float = 0.05
    max_delay: float = 1.0
    budget: float = 5.0
    schema_delay: float = 0.001
    schema_repeats: int = 10
    random: Callable[[], float] = field(default=random.random)
    clock: Callable[[], float] = field(default=time.monotonic)

    def delays(self, *, since: float | None = None) -> Iterator[float]:
        """A delay before each repeat, until the budget cannot pay for the next.

        The budget runs from the first delay, or from ``since`` on ``clock``.
        """
        started = self.clock() if since is None else since
        ceiling = self.base_delay
        while True:
            delay = ceiling * (0.5 + self.random() / 2)
            if self.clock() - started + delay > self.budget:
                return
            yield delay
            ceiling = min(2 * ceiling, self.max_delay)

    def schema_delays(self) -> Iterator[float]:
        """The delays of the first repeats after OC001, within the same budget."""
        started = self.clock()
        for _ in range(self.schema_repeats):
            if self.clock() - started > self.budget:
                return
            yield self.schema_delay


DEFAULT_POLICY = Policy()


def run_transaction(
    work: Callable[[], Result],
    *,
    policy: Policy | None = None,
    using: str = "default",
    sleep: Callable[[float], None] = time.sleep,
    on_retry: OnRetry | None = None,
) -> Result:
    """Run ``work`` in an outermost atomic block; repeat the whole block on a conflict.

    The conflict may surface at COMMIT, so the block is inside the repeat. Work must be
    safe to run again: no effect outside the database. Raises RuntimeError inside an
    open atomic block, ConflictRetriesExhausted when the budget is spent, OutcomeUnknown
    when the connection was lost at COMMIT. Hooks of ``transaction.on_commit()`` run once;
    the error of one is raised as it is, for the block was committed.
    """

    def attempt() -> Result:
        with transaction.atomic(using=using, durable=True):
            return work()

    return repeat(attempt, policy=policy, sleep=sleep, on_retry=on_retry)


def repeat(
    attempt: Callable[[], Result],
    *,
    policy: Policy | None = None,
    sleep: Callable[[float], None] = time.sleep,
    on_retry: OnRetry | None = None,
) -> Result:
    """Call ``attempt``, a whole unit of work, until it ends without a conflict.

    It is also repeated once when its connection was lost with nothing committed, and like
    a conflict while the server is unavailable. Inside another repeat it is called once.
    Raises ConflictRetriesExhausted or ServerUnavailable when the policy's budget, or the
    time of the request, is spent.
    """
    if _repeating.get():
        return attempt()
    mark = _repeating.set(True)
    try:
        return _repeat(attempt, policy, sleep, on_retry)
    finally:
        _repeating.reset(mark)


def _repeat(
    attempt: Callable[[], Result],
    policy: Policy | None,
    sleep: Callable[[float], None],
    on_retry: OnRetry | None,
) -> Result:
    attempts = Attempts(policy)
    while True:
        try:
            return attempt()
        except Error as error:
            number, delay = attempts.number, attempts.delay_after(error)
            if delay is None:
                if is_conflict(error) and not is_after_commit(error):
                    raise ConflictRetriesExhausted(
                        f"Still conflicting with other transactions after {number} "
                        f"attempts."
                    ) from error
                raise
            if on_retry is not None:
                on_retry(number, delay, error)
        sleep(delay)


class Attempts:
    """Counts the attempts at one unit of work and says what to wait between them."""

    def __init__(self, policy: Policy | None = None) -> None:
        self._pauses = _Pauses(policy or DEFAULT_POLICY)
        self.number = 1

    def delay_after(self, error: Error) -> float | None:
        """Seconds until the next attempt; None when there is to be none.

        ``error`` ended an attempt with nothing committed.
        """
        delay = self._pauses.after(error)
        if delay is None or delay >= time_left():
            return None
        if is_conflict(error):
            conflict_retried.send_robust(sender=repeat, attempt=self.number)
        self.number += 1
        return delay


class _Pauses:
    """The delays that remain between the attempts at one unit of work."""

    def __init__(self, policy: Policy) -> None:
        self._delays, self._first = policy.delays(), policy.schema_delays()
        self._column_delays = iter(COLUMN_DELAYS)
        self._lost = False

    def after(self, error: Error) -> float | None:
        """Seconds until the next attempt; None when there is to be none."""
        if isinstance(error, OutcomeUnknown) or is_after_commit(error):
            return None
        if isinstance(error, ConnectionLost) and not self._lost:
            self._lost = True
            return 0.0
        if isinstance(error, ServerUnavailable):
            return next(self._delays, None)
        if is_conflict(error):
            soon = self._first if _schema_changed(error) else iter(())
            return next(itertools.chain(soon, self._delays), None)
        if UNDEFINED_COLUMN in sqlstates(error):
            return next(self._column_delays, None)
        return None


def _schema_changed(error: Error) -> bool:
    return any(SCHEMA_CHANGED in str(link) for link in causes(error))
