"""atomic() inside atomic(): without savepoints both end as one."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from django.db import OperationalError, transaction

from config.dsql.base import DatabaseWrapper
from config.dsql.retry import run_transaction
from tests.config.dsql.conftest import run
from tests.config.dsql.test_retry import Conflict


@pytest.fixture
def table(scratch: DatabaseWrapper) -> DatabaseWrapper:
    run(scratch, "CREATE TABLE t (a bigint)")
    return scratch


def insert(connection: DatabaseWrapper) -> None:
    run(connection, "INSERT INTO t VALUES (1)")


def fail(error: Exception | None = None) -> None:
    with transaction.atomic("other"):
        raise error or ValueError("inner")


def fail_inside(error: Exception | None = None) -> None:
    """An inner block whose error is caught."""
    with suppress(ValueError, OperationalError):
        fail(error)


def rows(connection: DatabaseWrapper) -> int:
    return int(run(connection, "SELECT count(*) FROM t")[0][0])


@transaction.atomic("other")
def half_done(connection: DatabaseWrapper, end: Callable[[], object] = str) -> None:
    insert(connection)
    with transaction.atomic("other"):
        fail_inside()
    end()


def test_an_error_caught_inside_the_outermost_block_is_not_lost(
    table: DatabaseWrapper,
) -> None:
    with pytest.raises(
        transaction.TransactionManagementError, match="no savepoints"
    ) as caught:
        half_done(table)
    assert str(caught.value.__cause__) == "inner"
    assert rows(table) == 0
    with transaction.atomic("other"):
        insert(table)
    assert rows(table) == 1


def test_nor_is_it_in_the_handler_of_another_error(table: DatabaseWrapper) -> None:
    try:
        fail()
    except ValueError:
        with pytest.raises(transaction.TransactionManagementError):
            half_done(table)


def test_the_error_that_ends_the_outermost_block_stays(table: DatabaseWrapper) -> None:
    with pytest.raises(ZeroDivisionError):
        half_done(table, end=lambda: 1 // 0)
    with pytest.raises(ValueError, match="inner"), transaction.atomic("other"):
        fail()
    with transaction.atomic("other"):
        insert(table)
    assert rows(table) == 1


def test_nothing_is_lost_where_only_the_inner_block_changed_something(
    table: DatabaseWrapper,
) -> None:
    """As when contrib.contenttypes renames a type whose new name is taken."""
    with transaction.atomic("other"):
        assert rows(table) == 0
        with suppress(ValueError), transaction.atomic("other"):
            insert(table)
            raise ValueError
    assert rows(table) == 0


@pytest.mark.django_db
def test_the_end_of_a_test_is_no_error() -> None:
    with suppress(ValueError), transaction.atomic():
        raise ValueError


def test_a_rollback_that_was_asked_for_is_no_error(table: DatabaseWrapper) -> None:
    with transaction.atomic("other"):
        insert(table)
        fail_inside()
        transaction.set_rollback(True, using="other")
    assert rows(table) == 0


def test_a_block_whose_connection_was_closed_leaves_no_error_behind(
    table: DatabaseWrapper,
) -> None:
    with transaction.atomic("other"):
        fail_inside()
        table.close()
    assert rows(table) == 0


def test_inner_blocks_that_succeed_are_committed(table: DatabaseWrapper) -> None:
    called: list[int] = []
    with transaction.atomic("other"), transaction.atomic("other"):
        insert(table)
        transaction.on_commit(lambda: called.append(1), using="other")
    assert (rows(table), called) == (1, [1])


def test_a_conflict_caught_inside_is_repeated(table: DatabaseWrapper) -> None:
    conflict = OperationalError("wrapped")
    conflict.__cause__ = Conflict()
    errors: list[Exception | None] = [conflict]

    def work() -> None:
        insert(table)
        if errors:
            fail_inside(errors.pop())

    run_transaction(work, using="other", sleep=lambda _: None)
    assert rows(table) == 1


def test_without_autocommit_its_owner_decides(table: DatabaseWrapper) -> None:
    transaction.set_autocommit(False, using="other")
    with transaction.atomic("other"):
        insert(table)
        fail_inside()
    transaction.rollback(using="other")
    transaction.set_autocommit(True, using="other")
    assert rows(table) == 0


def test_a_conflict_caught_in_an_inner_block_repeats_the_transaction(
    table: DatabaseWrapper,
) -> None:
    attempts = []

    def work() -> None:
        attempts.append("attempt")
        if len(attempts) == 1:
            conflict = OperationalError("lost")
            conflict.__cause__ = Conflict()
            fail_inside(conflict)
        insert(table)

    run_transaction(work, using="other", sleep=lambda _: None)
    assert len(attempts) == 2
    assert rows(table) == 1
