"""What a request has done that a repeat would do a second time: hooks and changes."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from psycopg.sql import SQL

from config.dsql import retry
from config.dsql.conflicts import is_conflict
from config.dsql.middleware import RetryConflicts
from config.dsql.retry import Policy
from ops.local.sandbox.fault_control import FaultClient
from tests.config.dsql.conflicting import attempts, lose
from tests.config.dsql.new_users import new_user
from users.models import User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts.clear()
    monkeypatch.setattr(retry, "DEFAULT_POLICY", Policy(base_delay=0.001, budget=0.5))


INSERT = "INSERT INTO increments VALUES (1)"


@pytest.fixture
def increments() -> Iterator[None]:
    """A table for statements of psycopg's own."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE increments (value integer)")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE increments")


def run_unseen(way: str) -> None:
    """A change by a method of psycopg's cursor, which Django's knows nothing of."""
    with connection.cursor() as cursor:
        if way == "stream":
            assert list(cursor.stream(f"{INSERT} RETURNING value")) == [(1,)]
        elif way == "composed stream":
            assert list(cursor.stream(SQL(f"{INSERT} RETURNING value"))) == [(1,)]
        elif way == "copy":
            with cursor.copy("COPY increments FROM STDIN") as copy:
                copy.write_row((1,))
        else:
            cursor.callproc("abs", [1])


@pytest.mark.usefixtures("increments")
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("way", ["stream", "composed stream", "copy", "callproc"])
def test_a_change_by_a_method_of_psycopg_is_not_done_again(
    way: str, block: bool, debug: bool, settings: Any
) -> None:
    settings.DEBUG = debug

    def view(request: HttpRequest) -> HttpResponse:
        attempts.append({})
        with transaction.atomic() if block else nullcontext():
            run_unseen(way)
        lose()

    with pytest.raises(OperationalError, match="lost"):
        RetryConflicts(view)(RequestFactory().post("/"))
    assert len(attempts) == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM increments")
        assert cursor.fetchone() == (0 if way == "callproc" else 1,)


def test_a_streamed_select_changes_nothing() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        attempts.append({})
        with connection.cursor() as cursor:
            assert list(cursor.stream("SELECT 1")) == [(1,)]
        if len(attempts) == 1:
            lose()
        return HttpResponse()

    assert RetryConflicts(view)(RequestFactory().post("/")).status_code == 200
    assert len(attempts) == 2


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("where", ["after reads", "without a block", "unconnected"])
def test_a_hook_that_has_run_is_not_run_again(where: str, robust: bool) -> None:
    ran: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        if where == "unconnected":
            connection.close()
        with transaction.atomic() if where == "after reads" else nullcontext():
            if where == "after reads":
                User.objects.count()
            transaction.on_commit(lambda: ran.append("hook"), robust=robust)
        lose()

    with pytest.raises(OperationalError, match="lost"):
        RetryConflicts(view)(RequestFactory().post("/"))
    assert ran == ["hook"]


def test_a_conflict_at_commit_after_a_hook_is_an_error(faults: FaultClient) -> None:
    ran: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        transaction.on_commit(lambda: ran.append("hook"))
        faults.add("conflict", times=1)
        transaction.atomic(new_user().save)()
        return HttpResponse()

    with pytest.raises(OperationalError) as caught:
        RetryConflicts(view)(RequestFactory().post("/"))
    assert is_conflict(caught.value)
    assert ran == ["hook"]


def test_a_hook_of_a_block_that_was_rolled_back_does_not_end_the_attempts(
    faults: FaultClient,
) -> None:
    ran: list[str] = []
    faults.add("conflict", times=2)

    def view(request: HttpRequest) -> HttpResponse:
        attempts.append({})
        with transaction.atomic():
            new_user().save()
            transaction.on_commit(lambda: ran.append("hook"))
        return HttpResponse()

    assert RetryConflicts(view)(RequestFactory().post("/")).status_code == 200
    assert (len(attempts), ran) == (3, ["hook"])
