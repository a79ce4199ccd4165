from collections.abc import Callable

import pytest
from django.db import OperationalError, connections

from config.dsql.retry import ConflictRetriesExhausted, Policy, run_statement


class Conflict(Exception):
    sqlstate = "40001"


def failing(times: int, error: type[Exception] = Conflict) -> Callable[[], str]:
    calls = iter(range(100))

    def work() -> str:
        if next(calls) < times:
            raise OperationalError("wrapped") from error()
        return "done"

    return work


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    monkeypatch.setattr(connections["default"], "in_atomic_block", False)
    return []


def policy(budget: float = 5.0) -> Policy:
    return Policy(budget=budget, random=lambda: 1.0, clock=lambda: 0.0)


def test_repeats_a_conflict_with_doubling_delays(delays: list[float]) -> None:
    assert run_statement(failing(3), policy=policy(), sleep=delays.append) == "done"
    assert delays == [0.05, 0.1, 0.2]


def test_gives_up_when_the_budget_cannot_pay_the_next_delay(
    delays: list[float],
) -> None:
    with pytest.raises(ConflictRetriesExhausted, match="after 1 attempts") as caught:
        run_statement(failing(1), policy=policy(budget=0.01), sleep=delays.append)
    assert isinstance(caught.value.__cause__, OperationalError)
    assert delays == []


def test_other_errors_are_not_repeated(delays: list[float]) -> None:
    with pytest.raises(OperationalError, match="wrapped"):
        run_statement(failing(1, ValueError), policy=policy(), sleep=delays.append)
    assert delays == []


def test_tells_the_hook_each_repeat(delays: list[float]) -> None:
    seen: list[tuple[int, float]] = []
    run_statement(
        failing(2),
        policy=policy(),
        sleep=delays.append,
        on_retry=lambda number, delay, _: seen.append((number, delay)),
    )
    assert seen == [(1, 0.05), (2, 0.1)]


def test_runs_once_inside_an_open_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections["default"], "in_atomic_block", True)
    with pytest.raises(OperationalError):
        run_statement(failing(1), policy=policy(), sleep=pytest.fail)
