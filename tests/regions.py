"""Calls that reach the API as each Region's process would: through its own endpoint."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.db import connections


@contextmanager
def both_regions() -> Iterator[Callable[..., list[Any]]]:
    """Yields ``at_once``: calls one function per Region at the same moment, in order."""
    start = threading.Barrier(2)
    pools = [
        ThreadPoolExecutor(1, initializer=_use, initargs=(alias,))
        for alias in ("default", "secondary")
    ]

    def call(work: Callable[[], Any]) -> Any:
        start.wait(timeout=30)
        return work()

    def at_once(first: Callable[[], Any], second: Callable[[], Any]) -> list[Any]:
        waiting = [
            pool.submit(call, work)
            for pool, work in zip(pools, (first, second), strict=True)
        ]
        return [future.result(timeout=60) for future in waiting]

    try:
        yield at_once
    finally:
        for pool in pools:
            pool.submit(lambda: connections["default"].close()).result(timeout=30)
            pool.shutdown()


def _use(alias: str) -> None:
    """This thread's default connection leads to the alias's Region."""
    connections["default"] = connections.create_connection(alias)
