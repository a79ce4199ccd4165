"""Calls that change the product file: how often a reader has to open another one."""

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import Any

PROJECT = Path(__file__).parents[2]
PRODUCT = ("config", "users", "ops")
# Yields what is counted; what it needs is made before and removed after.
Scenario = Callable[[], AbstractContextManager[Callable[[], object]]]
Pair = tuple[str, str]  # the caller's file and the callee's


class Counting:
    """Inside, each call from one product file into another one counts.

    A call through a library (Django calls a view) does not: whoever reads knows that
    protocol. A generator that is resumed counts as a call.
    """

    def __init__(self) -> None:
        self.pairs: Counter[Pair] = Counter()
        self._files: dict[str, str | None] = {}

    def __enter__(self) -> "Counting":
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or frame.f_back is None:
            return
        callee = self._product_file(frame.f_code.co_filename)
        caller = self._product_file(frame.f_back.f_code.co_filename)
        if caller and callee and caller != callee:
            self.pairs[caller, callee] += 1

    def _product_file(self, name: str) -> str | None:
        """Its path in the project; None for a library's, a test's and generated code."""
        if name not in self._files:
            path = Path(name)
            within = path.is_relative_to(PROJECT)
            parts = path.relative_to(PROJECT).parts if within else ()
            is_product = bool(parts) and parts[0] in PRODUCT
            self._files[name] = "/".join(parts) if is_product else None
        return self._files[name]


def count_crossings(scenario: Scenario) -> Counter[Pair]:
    """The fewest of three runs: how often a job is polled depends on the machine.

    A run before them fills the caches.
    """
    runs = []
    for _ in range(4):
        with scenario() as work, Counting() as counting:
            work()
        runs.append(counting.pairs)
    return min(runs[1:], key=Counter.total)
