"""What a function does with a value besides placing it, and which changes are refused."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Case, Exists, F, OuterRef, QuerySet, Value, When
from django.db.models.functions import Lower
from django.utils import timezone

from config.api.models import StoredResponse
from config.dsql.prepared import Changes, Delete, Query, Update
from config.dsql.writes import insert_rows
from tests.config.dsql.test_prepared import EPOCH, bound, compiled
from users.models import User


@pytest.fixture
def people() -> list[User]:
    return [
        User.objects.create(
            name=name,
            email=f"{name}@example.com",
            created_at=EPOCH + timedelta(hours=2),
        )
        for name in ("ada", "grace")
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("build", "values"),
    [
        (lambda v: User.objects.filter(name=v) if v else User.objects.all(), ["a", ""]),
        (
            lambda v: User.objects.filter(name=v) if v != "x" else User.objects.none(),
            ["a", "x"],
        ),
        (lambda v: User.objects.filter(name=v.lower()), ["A", "B"]),
        (lambda v: StoredResponse.objects.filter(status=v + 1), [1, 2]),
        (lambda v: User.objects.filter(name__in=[one for one in v]), [["a"], ["b"]]),  # noqa: C416 - what a function may do
        (lambda v: User.objects.order_by("pk")[:v], [1, 2]),
        (lambda v: User.objects.filter(name__in=v), [["a"], [F("email")]]),
        (
            lambda v: User.objects.filter(
                Exists(StoredResponse.objects.filter(resource=OuterRef("pk"), status=v))
            ),
            [3.0, 3.5, 2**40],
        ),
        (
            lambda v: User.objects.annotate(
                n=Case(When(name=v, then=Value(1)), default=Value(0))
            ),
            ["a", "b"],
        ),
        (
            lambda v: User.objects.filter(name=v).union(User.objects.filter(email=v)),
            ["a", "b"],
        ),
    ],
    ids=[
        "truth", "comparison", "method", "sum", "iteration", "slice", "expression",
        "subquery", "case", "union",
    ],
)  # fmt: skip
def test_a_function_that_looks_at_a_value_gets_what_the_orm_gives(
    build: Callable[[Any], QuerySet[Any, Any]], values: list[Any]
) -> None:
    statement: Query[Any] = Query(lambda *, v: build(v))
    for value in values:
        assert bound(statement, {"v": value}) == compiled(build(value)), value


@pytest.mark.django_db
@pytest.mark.usefixtures("people")
def test_dates_are_those_of_the_active_time_zone() -> None:
    def of_day(*, day: Any) -> QuerySet[User]:
        return User.objects.filter(created_at__date=day).order_by("pk")

    statement: Query[User] = Query(of_day)
    for zone in ("UTC", "America/New_York", "Asia/Tokyo"):
        with timezone.override(zone):
            for day in (EPOCH.date(), EPOCH.date() - timedelta(days=1)):
                assert statement.rows(day=day) == list(of_day(day=day))


@pytest.mark.django_db
@pytest.mark.parametrize(
    "rows",
    [
        lambda name: User.objects.filter(name=name).order_by("pk")[:1],
        lambda name: User.objects.filter(name=name).distinct(),
        lambda name: User.objects.filter(name=name).union(User.objects.all()),
        lambda name: User.objects.using("elsewhere").filter(name=name),
    ],
    ids=["slice", "distinct", "union", "another database"],
)
def test_a_change_of_other_rows_than_the_querysets_is_refused(rows: Any) -> None:
    deletion = Delete(lambda *, name: rows(name))
    change = Update(lambda *, name: Changes(rows(name), {"name": "x"}))
    for statement in (deletion, change):
        with pytest.raises(TypeError, match="A prepared change"):
            statement.bind(name="a")


@pytest.mark.django_db
def test_an_update_that_returns_nothing_returns_no_rows(people: list[User]) -> None:
    def rename(*, name: Any, user_id: Any) -> Changes:
        return Changes(User.objects.filter(pk=user_id), {"name": name})

    assert Update(rename).rows(name="new", user_id=people[0].pk) == []
    assert User.objects.get(pk=people[0].pk).name == "new"


@pytest.mark.django_db
def test_an_expression_is_no_value_of_an_inserted_row() -> None:
    with pytest.raises(TypeError, match=r"takes values, and users\.User\.name"):
        insert_rows([User(name=Lower(Value("A")), email="a@example.com")])
