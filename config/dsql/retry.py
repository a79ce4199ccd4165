"""The one runner for repeatable work."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from django.db import Error, OperationalError, connections, transaction

from config.dsql.conflicts import is_conflict

Result = TypeVar("Result")
OnRetry = Callable[[int, float, BaseException], None]


class ConflictRetriesExhausted(OperationalError):
    """Conflicts went on until the time budget was spent; the last one is the cause."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How long to go on. All times are seconds.

    The budget bounds the waiting and lies below API Gateway's 29 s. Delays follow
    "full jitter" on a doubling base, as the user guide's retry pattern does.
    """

    base_delay: float = 0.05
    max_delay: float = 1.0
    budget: float = 5.0
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
    open atomic block, ConflictRetriesExhausted when the budget is spent.
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
    repeat it.
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

    Raises ConflictRetriesExhausted when the policy's budget is spent.
    """
    delays = (policy or DEFAULT_POLICY).delays()
    number = 1
    while True:
        try:
            return attempt()
        except Error as error:
            if not is_conflict(error):
                raise
            delay = next(delays, None)
            if delay is None:
                raise ConflictRetriesExhausted(
                    f"Still conflicting with other transactions after {number} attempts."
                ) from error
            if on_retry is not None:
                on_retry(number, delay, error)
        sleep(delay)
        number += 1
