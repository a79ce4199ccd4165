"""Checks that need both endpoints: what is written in one is there in the other."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.db import DatabaseError, connections

from config.dsql.retry import run_transaction
from config.dsql.tokens import parse_region
from ops.clusters.checks import CheckFailed
from ops.clusters.failover import serving_without
from users.models import User

WAIT_SECONDS = 30.0  # for the other thread; far above any statement's time
Pair = tuple[str, ...]
Latencies = dict[str, list[float]]


def replication(pair: Pair, rounds: int, latencies: Latencies) -> str:
    """Each round writes in either Region and reads the other at once."""
    first, second = pair
    writes, reads = latencies.setdefault("write", []), latencies.setdefault("read", [])
    stale = 0
    with _user(first) as key:
        for here, there in ((first, second), (second, first)) * rounds:
            mark = str(uuid.uuid4())
            writes.append(_timed(partial(_set_name, here, key, mark))[1])
            seen, took = _timed(partial(_name, there, key))
            reads.append(took)
            stale += seen != mark
    if stale:
        raise CheckFailed(f"{stale} of {2 * rounds} reads missed the write before.")
    write, read = percentiles(writes), percentiles(reads)
    return (
        f"{2 * rounds} writes, each read in the other Region at once: 0 stale; write p50 "
        f"{write['p50']} ms, p95 {write['p95']} ms; read p50 {read['p50']} ms, p95 "
        f"{read['p95']} ms"
    )


def conflict(pair: Pair) -> str:
    """Both Regions change one row at once: one wins, the other's retry adds its change."""
    first, second = pair
    with _user(first, name="0") as key:
        own, other = _Increment(first, key), _Increment(second, key)
        # Once the other's snapshot is taken too, whichever commits last has a conflict.
        own.before_commit = other.begin
        try:
            own.run()
        finally:
            other.join()
        total = int(_name(first, key))
    if error := own.error or other.error:
        raise CheckFailed(f"The loser's retry failed: {error}")
    if total != 2:
        raise CheckFailed(f"Of two increments {total} happened: a change was lost.")
    retries = own.retries + other.retries
    if not retries:
        raise CheckFailed("Both committed without a conflict: isolation does not hold.")
    return f"one won, the other was repeated {retries} time(s); both changes are there"


class _Increment:
    """Adds one to the name, in a transaction that is repeated on a conflict."""

    def __init__(self, alias: str, key: uuid.UUID) -> None:
        self.alias, self.key = alias, key
        self.before_commit: Callable[[], None] = lambda: None
        self.retries = 0
        self.error: DatabaseError | None = None
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run_in_thread)

    def begin(self) -> None:
        """Start in a thread; returns when the first attempt has its snapshot."""
        if not self._begun.is_set():
            self._thread.start()
            self._begun.wait(WAIT_SECONDS)

    def join(self) -> None:
        if self._thread.ident is not None:
            self._thread.join(WAIT_SECONDS)

    def run(self) -> None:
        try:
            run_transaction(self._work, using=self.alias, on_retry=self._count)
        except DatabaseError as error:
            self.error = error

    def _run_in_thread(self) -> None:
        try:
            self.run()
        finally:
            self._begun.set()
            connections[self.alias].close()  # this thread's own

    def _work(self) -> None:
        value = int(_name(self.alias, self.key))
        self._begun.set()
        _set_name(self.alias, self.key, str(value + 1))
        self.before_commit()

    def _count(self, *_: Any) -> None:
        self.retries += 1


def failover(pair: Pair) -> str:
    """The way out of a Region whose endpoint is lost leads to the other."""
    hosts = [str(connections[alias].settings_dict["HOST"]) for alias in pair]
    for own, peer in (hosts, reversed(hosts)):
        if serving_without(own, peer) != parse_region(peer):
            raise CheckFailed(
                f"{own} was to be avoided, but served.",
                f"Can {peer} be reached from here, by the same role?",
            )
    return "each Region is served by the other when its own endpoint is avoided"


@contextmanager
def _user(alias: str, name: str = "new") -> Iterator[uuid.UUID]:
    """A row of the check's own, which is gone afterwards."""
    key = uuid.uuid4()
    email = f"dsql-verify-{key}@example.invalid"
    user = User(id=key, name=name, email=email)
    try:
        user.save(using=alias, force_insert=True)
        yield key
    finally:
        row = User.objects.using(alias).filter(pk=key)
        run_transaction(row.delete, using=alias)


def _set_name(alias: str, key: uuid.UUID, name: str) -> None:
    User.objects.using(alias).filter(pk=key).update(name=name)


def _name(alias: str, key: uuid.UUID) -> str:
    found = User.objects.using(alias).filter(pk=key).values_list("name", flat=True)
    return next(iter(found.all()), "")


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result and the milliseconds it took, repeats included."""
    started = time.perf_counter()
    result = work()
    return result, (time.perf_counter() - started) * 1000


def percentiles(values: list[float]) -> dict[str, float]:
    """Nearest-rank p50 and p95 in milliseconds."""
    ordered = sorted(values)
    return {
        f"p{rank}": round(ordered[max(0, -(-rank * len(ordered) // 100) - 1)], 2)
        for rank in (50, 95)
    }
