from collections.abc import Callable

import pytest
from django.db import OperationalError, transaction

from config.dsql.base import DatabaseWrapper
from config.dsql.conflicts import ConnectionLost, OutcomeUnknown, sqlstates
from config.dsql.retry import (
    ConflictRetriesExhausted,
    Policy,
    repeat,
    run_transaction,
)
from ops.local.sandbox.fault_control import FaultClient
from tests.config.dsql.conftest import run


class Conflict(Exception):
    sqlstate = "40001"


class SchemaConflict(Conflict):
    def __str__(self) -> str:
        return "schema has been updated by another transaction (OC001)"


def failing(times: int, error: type[Exception] = Conflict) -> Callable[[], str]:
    calls = iter(range(100))

    def work() -> str:
        if next(calls) < times:
            raise OperationalError("wrapped") from error()
        return "done"

    return work


@pytest.fixture
def delays() -> list[float]:
    return []


def policy(budget: float = 5.0) -> Policy:
    return Policy(budget=budget, random=lambda: 1.0, clock=lambda: 0.0)


def test_repeats_a_conflict_with_doubling_delays(delays: list[float]) -> None:
    assert repeat(failing(3), policy=policy(), sleep=delays.append) == "done"
    assert delays == [0.05, 0.1, 0.2]


def test_a_changed_schema_is_not_waited_for(delays: list[float]) -> None:
    work = failing(12, SchemaConflict)
    assert repeat(work, policy=policy(), sleep=delays.append) == "done"
    assert delays == [0.001] * 10 + [0.05, 0.1]


class UndefinedColumn(Exception):
    sqlstate = "42703"


def test_a_column_without_its_name_is_waited_for_a_moment(delays: list[float]) -> None:
    work = failing(3, UndefinedColumn)
    assert repeat(work, policy=policy(), sleep=delays.append) == "done"
    assert delays == [0.01, 0.03, 0.09]
    with pytest.raises(OperationalError, match="wrapped"):
        repeat(failing(4, UndefinedColumn), policy=policy(), sleep=lambda _: None)


def test_gives_up_when_the_budget_cannot_pay_the_next_delay(
    delays: list[float],
) -> None:
    with pytest.raises(ConflictRetriesExhausted, match="after 1 attempts") as caught:
        repeat(failing(1), policy=policy(budget=0.01), sleep=delays.append)
    assert isinstance(caught.value.__cause__, OperationalError)
    assert delays == []


def test_other_errors_are_not_repeated(delays: list[float]) -> None:
    with pytest.raises(OperationalError, match="wrapped"):
        repeat(failing(1, ValueError), policy=policy(), sleep=delays.append)
    assert delays == []


def test_tells_the_hook_each_repeat(delays: list[float]) -> None:
    seen: list[tuple[int, float]] = []
    repeat(
        failing(2),
        policy=policy(),
        sleep=delays.append,
        on_retry=lambda number, delay, _: seen.append((number, delay)),
    )
    assert seen == [(1, 0.05), (2, 0.1)]


@pytest.fixture
def counter(scratch: DatabaseWrapper, peer: DatabaseWrapper) -> Callable[[], None]:
    """A row both Regions count on; what it returns counts in the other Region."""
    run(scratch, "CREATE TABLE counter (n bigint)")
    run(scratch, "INSERT INTO counter VALUES (0)")

    def count() -> None:
        run(peer, "UPDATE scratch.counter SET n = n + 1")

    return count


def test_a_transaction_that_lost_to_the_other_region_is_run_again(
    scratch: DatabaseWrapper, counter: Callable[[], None]
) -> None:
    seen: list[int] = []
    retried: list[set[str]] = []

    def work() -> int:
        (found,) = run(scratch, "SELECT n FROM counter")
        seen.append(found[0])
        if len(seen) < 3:
            counter()
        run(scratch, f"UPDATE counter SET n = {found[0] + 10}")
        return int(found[0])

    result = run_transaction(
        work,
        using="other",
        sleep=lambda _: None,
        on_retry=lambda _number, _delay, error: retried.append(sqlstates(error)),
    )
    assert seen == [0, 1, 2]
    assert result == 2
    assert retried == [{"40001"}, {"40001"}]
    assert run(scratch, "SELECT n FROM counter") == [(12,)]


def test_a_transaction_that_always_loses_ends_with_the_conflict(
    scratch: DatabaseWrapper, counter: Callable[[], None]
) -> None:
    def work() -> None:
        run(scratch, "SELECT n FROM counter")
        counter()
        run(scratch, "UPDATE counter SET n = -1")

    delays: list[float] = []
    bounded = Policy(budget=0.2, random=lambda: 1.0, clock=lambda: sum(delays))
    with pytest.raises(ConflictRetriesExhausted, match="after 3 attempts") as caught:
        run_transaction(work, using="other", policy=bounded, sleep=delays.append)
    assert sqlstates(caught.value) == {"40001"}
    assert delays == [0.05, 0.1]
    assert run(scratch, "SELECT n FROM counter") == [(3,)]


def test_a_transaction_inside_another_is_refused(scratch: DatabaseWrapper) -> None:
    with (
        transaction.atomic(using="other"),
        pytest.raises(RuntimeError, match="durable"),
    ):
        run_transaction(lambda: None, using="other")


def test_a_procedures_outcome_is_judged_as_a_statements_is(
    other: DatabaseWrapper, faults: FaultClient
) -> None:
    with other.cursor() as cursor:
        faults.add("unavailable-at-statement", times=1)
        with pytest.raises(OutcomeUnknown, match="server unavailable"):
            cursor.callproc("version")
        cursor.callproc("version")
        assert cursor.fetchone()[0].startswith("PostgreSQL 16")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [Conflict, ConnectionLost])
def test_a_block_that_was_committed_is_not_repeated_for_its_hook(
    error: type[Exception],
) -> None:
    ran: list[str] = []

    def hook() -> None:
        ran.append("hook")
        if error is ConnectionLost:
            raise ConnectionLost("lost")
        raise OperationalError("lost") from error()

    def work() -> None:
        ran.append("work")
        transaction.on_commit(hook)

    with pytest.raises(OperationalError, match="lost"):
        run_transaction(work)
    assert ran == ["work", "hook"]
