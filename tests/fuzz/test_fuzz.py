"""A few hundred random sessions of each kind; FUZZ_SEED selects others."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ops.local.sandbox import lifecycle
from tests.fuzz.sessions import Found, concurrent, prepare, single
from tests.fuzz.shrink import shrink
from tests.ops.local.sandbox.wire import seed

SESSIONS, SECONDS = 300, 300.0


@pytest.mark.slow
@pytest.mark.parametrize("kind", [single, concurrent])
def test_no_random_session_differs(
    tmp_path: Path, kind: Callable[[lifecycle.Status, int, int, float], Found]
) -> None:
    try:
        status = lifecycle.up(tmp_path, durable=False)
        prepare(status)
        found = kind(status, seed(), SESSIONS, time.monotonic() + SECONDS)
    finally:
        lifecycle.reset(tmp_path)
    assert found.sessions == SESSIONS or not found.difference
    assert found.difference == "", f"seed {found.seed}\n{found.difference}"


def test_what_differs_is_shrunk_to_what_it_needs() -> None:
    def differs(parts: Sequence[int]) -> str | None:
        return f"{list(parts)}" if {3, 7} <= set(parts) else None

    assert shrink(range(10), differs, "all") == ([3, 7], "[3, 7]")


def test_a_difference_that_does_not_come_again_is_still_told() -> None:
    assert shrink([1, 2], lambda _: None, "once") == ([1, 2], "once")
