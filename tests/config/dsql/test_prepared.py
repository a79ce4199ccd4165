"""A prepared statement is the ORM's own, whatever its values are."""

import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import connection
from django.db.models import (
    Exists,
    OuterRef,
    Q,
    QuerySet,
    Value,
    sql,
)
from django.db.models.fields.tuple_lookups import Tuple, TupleLessThan
from django.db.models.functions import Concat, Lower
from django.db.models.lookups import Exact, GreaterThanOrEqual, LessThan
from django.test.utils import CaptureQueriesContext

from config.api.models import StoredResponse
from config.dsql import prepared
from config.dsql.prepared import Changes, Delete, Query, Update
from config.dsql.slots import as_value
from users.models import User

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
FIELDS = ("id", "name", "email", "created_at", "updated_at")
TEXTS = [
    "", "%", "%%", "%s", "%(name)s", "\\", "\\%", "_", "'", '"', ";", "--", "$1", "ADA", "Ada",
    "a@example.com", "ß", "İ", "😀", "\u200b", "a" * 300, "{}", "[]", "null", "\n",
]  # fmt: skip
NUMBERS = [0, 1, -1, 200, 2**15, 2**31 - 1, 2**31, -(2**31) - 1, 2**40, 2**63, 10**30]


class Random:
    """Values of each kind that statements of ours take, odd ones included."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)  # noqa: S311 - values that the seed repeats

    def text(self) -> str:
        return self.choose.choice(TEXTS)

    def number(self) -> int | bool | None:
        return self.choose.choice([*NUMBERS, None, True, False])

    def key(self) -> uuid.UUID:
        return uuid.UUID(int=self.choose.choice([0, 1, 2**128 - 1, 2**64]))

    def moment(self) -> datetime:
        return EPOCH + timedelta(microseconds=self.choose.randrange(10**12))

    def several(self, one: Callable[[], Any]) -> list[Any]:
        length = self.choose.choice([0, 1, 1, 2, 2, 2, 3, 3, 3, 7, 7, 300])
        return [one() for _ in range(length)]

    def or_none(self, one: Callable[[], Any]) -> Any:
        return None if self.choose.random() < 0.3 else one()


def by_key(*, user_id: Any) -> QuerySet[User, dict[str, Any]]:
    rows: QuerySet[User, dict[str, Any]] = User.objects.values(*FIELDS)
    return rows.filter(pk=user_id)


def page(
    *,
    email: Any = None,
    prefix: Any = None,
    since: Any = None,
    key: Any = None,
    after: Any = None,
    descending: bool,
    limit: int,
) -> QuerySet[User, dict[str, Any]]:
    """Every filter of the user list, and a place in it."""
    rows: QuerySet[User, dict[str, Any]] = User.objects.values(*FIELDS)
    if email is not None:
        rows = rows.filter(Exact(Lower("email"), Lower(as_value(email))))
    if prefix is not None:
        start = Lower(as_value(prefix))
        end = Concat(start, Value("\U0010ffff"))
        rows = rows.filter(
            GreaterThanOrEqual(Lower("name"), start), LessThan(Lower("name"), end)
        )
    if since is not None:
        rows = rows.filter(created_at__gte=since)
    if key is not None:
        place = (as_value(after), as_value(key))
        rows = rows.filter(TupleLessThan(Tuple("created_at", "id"), place))
    sign = "-" if descending else ""
    return rows.order_by(f"{sign}created_at", f"{sign}id")[:limit]


def lookups(*, status: Any, statuses: Any, path: Any, start: Any) -> QuerySet[Any, Any]:
    return StoredResponse.objects.values_list("pk", flat=True).filter(
        Q(status__in=statuses) | ~Q(status=status) | Q(fingerprint__iexact=path),
        ~Q(created_at__in=[EPOCH]),
        body__contains=start,
        headers__istartswith=start,
    )


def numbers(*, low: Any, high: Any, exact: Any) -> QuerySet[Any, Any]:
    rows = StoredResponse.objects.filter(status__gt=low, status__lte=high)
    return rows.exclude(status=exact)


CASES: dict[
    str, tuple[Callable[..., Any], tuple[str, ...], Callable[[Random], Any]]
] = {
    "by key": (by_key, (), lambda r: {"user_id": r.or_none(r.key)}),
    "page": (
        page,
        ("limit",),
        lambda r: {
            "email": r.or_none(r.text),
            "prefix": r.or_none(r.text),
            "since": r.or_none(r.moment),
            "key": r.or_none(r.key),
            "after": r.moment(),  # used with a key only
            "descending": r.choose.random() < 0.5,
            "limit": r.choose.choice([1, 50, 100]),
        },
    ),
    "lookups": (
        lookups,
        (),
        lambda r: {
            "status": r.number(),
            "statuses": r.several(r.number),
            "path": r.text(),
            "start": r.text(),
        },
    ),
    "numbers": (
        numbers,
        (),
        lambda r: {
            "low": r.choose.choice(NUMBERS),
            "high": r.choose.choice(NUMBERS),
            "exact": r.number(),
        },
    ),
}


def compiled(queryset: QuerySet[Any, Any]) -> tuple[str, list[Any]] | None:
    try:
        statement, params = queryset.query.get_compiler("default").as_sql()
    except (EmptyResultSet, FullResultSet):
        return None
    return statement, list(params)


def bound(statement: Any, values: dict[str, Any]) -> tuple[str, list[Any]] | None:
    try:
        made = statement.bind(**values)
    except EmptyResultSet:
        return None
    return made.sql, list(made.params)


@pytest.mark.django_db
@pytest.mark.parametrize("name", CASES)
def test_500_random_values_give_the_sql_and_parameters_of_the_orm(name: str) -> None:
    build, constants, make = CASES[name]
    statement: Query[Any] = Query(build, constants)
    source = Random(1)
    for _ in range(500):
        values = make(source)
        assert bound(statement, values) == compiled(build(**values)), values


@pytest.fixture
def people() -> list[User]:
    return [
        User.objects.create(
            id=uuid.UUID(int=number), name=name, email=f"{number}@example.com",
            created_at=EPOCH + timedelta(days=number),
        )
        for number, name in enumerate(["ADA", "Ada", "%", "\\", "ß", "_"])
    ]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["by key", "page"])
@pytest.mark.usefixtures("people")
def test_the_rows_are_those_of_the_orm(name: str) -> None:
    build, constants, make = CASES[name]
    statement: Query[Any] = Query(build, constants)
    source = Random(2)
    for _ in range(40):
        values = make(source)
        assert statement.rows(**values) == list(build(**values)), values


@pytest.mark.django_db
def test_a_number_beyond_the_column_finds_nothing_without_a_query() -> None:
    def by_status(*, status: Any) -> QuerySet[StoredResponse]:
        return StoredResponse.objects.filter(status=status)

    statement: Query[StoredResponse] = Query(by_status)
    statement.rows(status=1)
    with CaptureQueriesContext(connection) as queries:
        assert statement.rows(status=2**100) == []
    assert not queries


@pytest.mark.django_db
def test_objects_are_those_of_the_orm(people: list[User]) -> None:
    def named(*, name: Any) -> QuerySet[User]:
        return User.objects.filter(name=name)

    statement: Query[User] = Query(named)
    for _ in range(2):
        found = statement.first(name="ß")
        assert found == people[4]
        assert (found.created_at, found._state.db) == (people[4].created_at, "default")
    assert statement.first(name="nobody") is None


@pytest.mark.django_db
@pytest.mark.usefixtures("people")
def test_a_statement_is_composed_once_for_a_shape() -> None:
    calls = []

    def counted(*, user_id: Any) -> QuerySet[User, dict[str, Any]]:
        calls.append(user_id)
        return by_key(user_id=user_id)

    statement: Query[dict[str, Any]] = Query(counted)
    for number in range(6):
        assert len(statement.rows(user_id=uuid.UUID(int=number))) == 1
    assert len(calls) == 2  # with the values, and with slots for them


@pytest.mark.django_db
@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    "unfit",
    [
        lambda year: User.objects.values("name").filter(created_at__year=year),
        lambda year: User.objects.extra(select={"x": "1"}).filter(
            created_at__year=year
        ),
        lambda year: User.objects.filter(
            Exists(User.objects.filter(pk=OuterRef("pk"), created_at__year=year))
        ),
        lambda year: (
            User.objects.order_by("pk")
            .filter(created_at__year=year)
            .dates("created_at", "year")
        ),
    ],
    ids=["year", "extra", "subquery", "dates"],
)
def test_what_does_not_fit_is_composed_by_the_orm(unfit: Any) -> None:
    statement: Query[Any] = Query(lambda *, year: unfit(year))
    for year in (2026, 1999):
        assert statement.rows(year=year) == list(unfit(year))


def change(*, user_id: Any, moments: Any, name: Any, now: Any) -> Changes:
    which = User.objects.filter(~Q(updated_at__in=moments), pk=user_id)
    return Changes(which, {"name": name, "updated_at": now}, FIELDS)


@pytest.mark.django_db
def test_500_random_updates_are_those_of_the_orm() -> None:
    statement, source = Update(change), Random(3)
    for _ in range(500):
        values = {
            "user_id": source.key(),
            "moments": source.several(source.moment),
            "name": source.or_none(source.text),
            "now": source.moment(),
        }
        query: Any = User.objects.filter(
            ~Q(updated_at__in=values["moments"]), pk=values["user_id"]
        ).query.chain(klass=sql.UpdateQuery)
        query.add_update_values({"name": values["name"], "updated_at": values["now"]})
        expected, params = query.get_compiler("default").as_sql()
        returning = '"id", "name", "email", "created_at", "updated_at"'
        made = statement.bind(**values)
        assert (made.sql, list(made.params)) == (
            f"{expected} RETURNING {returning}",
            list(params),
        )


@pytest.mark.django_db
def test_an_update_returns_the_new_row(people: list[User]) -> None:
    statement = Update(change)
    for name in ("%s", "\\"):
        values = {
            "user_id": people[0].pk,
            "moments": [],
            "name": name,
            "now": EPOCH,
        }
        (row,) = statement.rows(**values)
        assert row == User.objects.values(*FIELDS).get(pk=people[0].pk)
        assert (row["name"], row["updated_at"]) == (name, EPOCH)
        assert statement.rows(**{**values, "user_id": uuid.UUID(int=99)}) == []


@pytest.mark.django_db
def test_a_delete_is_that_of_the_orm() -> None:
    def stale(*, user_id: Any, moments: Any) -> QuerySet[User]:
        return User.objects.filter(pk=user_id, updated_at__in=moments)

    statement, source = Delete(stale), Random(4)
    for _ in range(500):
        values = {"user_id": source.key(), "moments": source.several(source.moment)}
        query = stale(**values).query.chain(klass=sql.DeleteQuery)
        try:
            expected, params = query.get_compiler("default").as_sql()
        except EmptyResultSet:
            assert bound(statement, values) is None
        else:
            assert bound(statement, values) == (expected, list(params))


@pytest.mark.django_db
def test_lists_of_ever_new_lengths_do_not_fill_the_memory() -> None:
    statement: Query[Any] = Query(lookups)
    for length in range(prepared.MAX_SHAPES + 10):
        values = {"status": 1, "path": "x", "start": "y", "statuses": [1] * length}
        statement.bind(**values)
    assert len(statement._templates) <= prepared.MAX_SHAPES
