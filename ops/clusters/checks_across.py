"""Checks that need both endpoints: a write through one is read through the other."""

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
from ops.clusters.failover import find_failover_region
from ops.clusters.outcomes import CheckFailed
from users.models import User

WAIT_SECONDS = 30.0  # for the other thread; far above any statement's time
Pair = tuple[str, ...]
Latencies = dict[str, list[float]]


def replication(pair: Pair, rounds: int, latencies: Latencies) -> str:
    """Each round writes in each Region and reads in the other at once."""
    first, second = pair
    writes, reads = latencies.setdefault("write", []), latencies.setdefault("read", [])
    stale = 0
    with _user(first) as key:
        for here, there in ((first, second), (second, first)) * rounds:
            mark = str(uuid.uuid4())
            writes.append(_time(partial(_set_name, here, key, mark))[1])
            seen, took = _time(partial(_name, there, key))
            reads.append(took)
            stale += seen != mark
    if stale:
        raise CheckFailed(f"{stale} of {2 * rounds} reads missed the preceding write.")
    write, read = percentiles(writes), percentiles(reads)
    return (
        f"{2 * rounds} writes, each read in the other Region at once: 0 stale; write p50 "
        f"{write['p50']} ms, p95 {write['p95']} ms; read p50 {read['p50']} ms, p95 "
        f"{read['p95']} ms"
    )


def conflict(pair: Pair) -> str:
    """Both Regions change one row at once: one commits first, the other's retry adds its change."""
    first, second = pair
    with _user(first, name="0") as key:
        local, peer = _Increment(first, key), _Increment(second, key)
        # Once both have their snapshots, whichever commits last has a conflict.
        local.before_commit = peer.begin
        try:
            local.run()
        finally:
            peer.join()
        total = int(_name(first, key))
    if error := local.error or peer.error:
        raise CheckFailed(f"The retry after the conflict failed: {error}")
    if total != 2:
        raise CheckFailed(f"Of two increments {total} happened: a change was lost.")
    retries = local.retries + peer.retries
    if not retries:
        raise CheckFailed("Both committed without a conflict: isolation does not hold.")
    return f"one committed first, the other was repeated {retries} time(s); both changes exist"


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
    """With its local endpoint avoided, each Region fails over to the other."""
    hosts = [str(connections[alias].settings_dict["HOST"]) for alias in pair]
    for local, peer in (hosts, reversed(hosts)):
        if find_failover_region(local, peer) != parse_region(peer):
            raise CheckFailed(
                f"{local} was to be avoided, but it served.",
                f"Check that {peer} can be reached from here with the same role.",
            )
    return "each Region is served by the other when its local endpoint is avoided"


@contextmanager
def _user(alias: str, name: str = "new") -> Iterator[uuid.UUID]:
    """A row for this check, deleted afterwards."""
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


def _time(work: Callable[[], Any]) -> tuple[Any, float]:
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
