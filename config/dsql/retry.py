"""The one runner for repeatable work."""

import itertools
import random
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from django.db import Error, OperationalError, connections, transaction

from config.dsql.conflicts import (
    ConnectionLost,
    OutcomeUnknown,
    chain,
    is_conflict,
    sqlstates,
)
from config.dsql.signals import conflict_retried

Result = TypeVar("Result")
OnRetry = Callable[[int, float, BaseException], None]
SCHEMA_CHANGED = "(OC001)"  # in the text: OC000 has the same SQLSTATE
# A column that changes its type has no name for some milliseconds: columns.py. Where it
# never had one, the error comes a moment later.
UNDEFINED_COLUMN, COLUMN_DELAYS = "42703", (0.01, 0.03, 0.09)
# Whether a repeat is under way: the outermost one repeats, those inside run once.
_repeating: ContextVar[bool] = ContextVar("repeating", default=False)


class ConflictRetriesExhausted(OperationalError):
    """Conflicts went on until the time budget was spent; the last one is the cause."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How long to go on. All times are seconds.

    The budget bounds the waiting and lies below API Gateway's 29 s. Delays follow
    "full jitter" on a doubling base, as the user guide's retry pattern does. After
    OC001 the session knows the new schema: nothing is to be waited for, and whoever waits
    while others go on changing it only meets the next change.
    """

    base_delay: float = 0.05
    max_delay: float = 1.0
    budget: float = 5.0
    schema_delay: float = 0.001
    schema_repeats: int = 10
    random: Callable[[], float] = field(default=random.random)
    clock: Callable[[], float] = field(default=time.monotonic)

    def delays(self) -> Iterator[float]:
        """A delay before each repeat, until the budget cannot pay for the next."""
        started, ceiling = self.clock(), self.base_delay
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
    """Run ``work`` in an outermost atomic block; repeat the whole block on 40001.

    The conflict may surface at COMMIT, so the block is inside the repeat. Work must be
    safe to run again: no effect outside the database. Raises RuntimeError inside an
    open atomic block, ConflictRetriesExhausted when the budget is spent, OutcomeUnknown
    when the connection was lost at COMMIT.
    """

    def attempt() -> Result:
        with transaction.atomic(using=using, durable=True):
            return work()

    return repeat(attempt, policy=policy, sleep=sleep, on_retry=on_retry)


def run_statement(
    work: Callable[[], Result],
    *,
    policy: Policy | None = None,
    using: str = "default",
    sleep: Callable[[float], None] = time.sleep,
    on_retry: OnRetry | None = None,
) -> Result:
    """Run ``work``, one statement in autocommit: one round trip, repeated on 40001.

    Inside an open atomic block the statement runs once: only the block's owner can
    repeat it. Raises OutcomeUnknown when the connection was lost during a write.
    """
    if connections[using].in_atomic_block:
        return work()
    return repeat(work, policy=policy, sleep=sleep, on_retry=on_retry)


def repeat(
    attempt: Callable[[], Result],
    *,
    policy: Policy | None = None,
    sleep: Callable[[float], None] = time.sleep,
    on_retry: OnRetry | None = None,
) -> Result:
    """Call ``attempt``, a whole unit of work, until no conflict ends it.

    When its connection was lost with nothing committed, it is called once more. Inside
    another repeat it is called once. Raises ConflictRetriesExhausted when the policy's
    budget is spent.
    """
    if _repeating.get():
        return attempt()
    mark = _repeating.set(True)
    try:
        return _repeat(attempt, policy or DEFAULT_POLICY, sleep, on_retry)
    finally:
        _repeating.reset(mark)


def _repeat(
    attempt: Callable[[], Result],
    policy: Policy,
    sleep: Callable[[float], None],
    on_retry: OnRetry | None,
) -> Result:
    delays, first, lost, number = policy.delays(), policy.schema_delays(), False, 1
    column_delays = iter(COLUMN_DELAYS)
    while True:
        try:
            return attempt()
        except OutcomeUnknown:
            raise
        except Error as error:
            if isinstance(error, ConnectionLost) and not lost:
                lost, delay = True, 0.0
            elif is_conflict(error):
                soon = first if _schema_changed(error) else iter(())
                delay = _next(itertools.chain(soon, delays), number, error)
                conflict_retried.send(sender=repeat, attempt=number)
            elif UNDEFINED_COLUMN in sqlstates(error) and (
                wait := next(column_delays, None)
            ):
                delay = wait
            else:
                raise
            if on_retry is not None:
                on_retry(number, delay, error)
        sleep(delay)
        number += 1


def _schema_changed(error: Error) -> bool:
    return any(SCHEMA_CHANGED in str(link) for link in chain(error))


def _next(delays: Iterator[float], number: int, error: Error) -> float:
    for delay in delays:
        return delay
    raise ConflictRetriesExhausted(
        f"Still conflicting with other transactions after {number} attempts."
    ) from error
