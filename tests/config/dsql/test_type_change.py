"""Columns that change their type: what holds meanwhile, and what is left by an error."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from django.contrib.postgres.indexes import GinIndex
from django.db import DataError, IntegrityError, NotSupportedError, models
from django.test.utils import isolate_apps

from config.dsql.base import DatabaseWrapper
from config.dsql.ddl.type_change import TypeChange
from config.dsql.retry import ConflictRetriesExhausted
from tests.config.dsql.conftest import run
from tests.config.dsql.items import (
    alter,
    create,
    definitions,
    item,
    names,
    refused,
)

LONG = "a_name_of_sixty_three_characters_which_no_mark_can_be_put_behind"[:63]


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    with isolate_apps("users"):
        yield


class FixedField(models.Field):  # type: ignore[type-arg]  # generic in the stubs only
    def __init__(self, length: int = 10, **options: Any) -> None:
        super().__init__(**options)
        self.length = length

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        return name, path, args, {**options, "length": self.length}

    def db_type(self, connection: Any) -> str:
        return f"char({self.length})"


def test_values_keep_their_length_in_a_column_of_fixed_length(
    scratch: DatabaseWrapper,
) -> None:
    before = item(v=FixedField(10))
    create(scratch, before)
    run(scratch, "INSERT INTO users_item (id, v) VALUES (1, 'hello'), (2, 'x')")
    alter(scratch, before, item(v=FixedField(25)))
    query = "SELECT v::text FROM users_item ORDER BY id"
    assert run(scratch, query) == [("hello",), ("x",)]


def test_the_copy_is_printed_as_it_is_run(scratch: DatabaseWrapper) -> None:
    before, longer = (item(v=models.CharField(max_length=n)) for n in (5, 9))
    create(scratch, before)
    field = [model._meta.get_field("v") for model in (before, longer)]
    with scratch.schema_editor(collect_sql=True) as editor:
        editor.alter_field(before, *field)
    copies = [sql for sql in editor.collected_sql if sql.startswith("UPDATE")]
    assert len(copies) == 2
    assert all("::varchar " in sql for sql in copies)


@contextmanager
def after(monkeypatch: pytest.MonkeyPatch, method: str, then: Any) -> Iterator[None]:
    """``then()`` follows each call of the method of a change of type."""
    original = getattr(TypeChange, method)

    def both(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        then()
        return result

    with monkeypatch.context() as patch:
        patch.setattr(TypeChange, method, both)
        yield


def test_a_value_that_grew_too_long_after_it_was_copied_is_not_cut(
    scratch: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = item(v=models.CharField(max_length=50))
    create(scratch, before)
    run(scratch, "INSERT INTO users_item (id, v) VALUES (1, 'short')")

    def grow() -> None:
        run(scratch, "UPDATE users_item SET v = 'short no more'")

    with after(monkeypatch, "_build_replacements", grow), pytest.raises(DataError):
        alter(scratch, before, item(v=models.CharField(max_length=5)))
    assert run(scratch, "SELECT v FROM users_item") == [("short no more",)]
    assert names(scratch) == {"id", "size", "v"}
    assert refused(scratch, "2, NULL")


def test_checks_and_not_null_hold_after_the_cutover(
    scratch: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    either = models.CheckConstraint(
        condition=models.Q(v__isnull=False) | models.Q(size__isnull=False),
        name="either",
    )
    options = {"constraints": [either]}
    before = item(options, v=models.PositiveIntegerField())
    create(scratch, before)
    run(scratch, "INSERT INTO users_item (id, v) VALUES (1, 1)")
    was = definitions(scratch)
    seen: list[bool] = []

    def write() -> None:
        seen.extend([refused(scratch, "2, -5"), refused(scratch, "3, NULL")])
        with pytest.raises(IntegrityError):
            run(scratch, "UPDATE users_item SET v = NULL")

    with after(monkeypatch, "_cut_over", write):
        alter(scratch, before, item(options, v=models.PositiveBigIntegerField()))
    assert seen == [True, True]
    found = definitions(scratch)
    assert {text for text in found if "NOT NULL" not in text or "either" in text} == was
    (not_null,) = (text for text in found - was if "(v IS NOT NULL)" in text)
    assert " true " in not_null


@pytest.mark.parametrize(
    "error", [ConflictRetriesExhausted("again and again"), KeyboardInterrupt()]
)
@pytest.mark.parametrize("method", ["_copy_rest", "_enforce_constraints"])
def test_the_column_is_back_after_an_error_in_the_window(
    scratch: DatabaseWrapper,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    error: BaseException,
) -> None:
    before, changed = (
        item(v=field())
        for field in (models.PositiveIntegerField, models.PositiveBigIntegerField)
    )
    create(scratch, before)
    run(scratch, "INSERT INTO users_item (id, v) VALUES (1, 1)")

    def fail() -> None:
        raise error

    with after(monkeypatch, method, fail), pytest.raises(type(error)):
        alter(scratch, before, changed)
    run(scratch, "INSERT INTO users_item (id, v) VALUES (2, 2)")
    assert refused(scratch, "3, -1")
    alter(scratch, before, changed)
    assert run(scratch, "SELECT v FROM users_item ORDER BY id") == [(1,), (2,)]
    assert names(scratch) == {"id", "size", "v"}


class Killed(BaseException):
    pass


class Killer:
    """Lets no statement through from the given one on."""

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0

    def __call__(
        self, execute: Any, sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        self.count += not sql.startswith("SELECT")
        if self.count < self.at:
            return execute(sql, params, many, context)
        self.count = self.at
        raise Killed


@pytest.mark.slow
def test_long_names_survive_a_kill_at_every_statement(scratch: DatabaseWrapper) -> None:
    options = {
        "indexes": [models.Index(fields=["v", "size"], name=f"i{LONG}"[:30])],
        "constraints": [
            models.CheckConstraint(condition=models.Q(v__gt=0), name=LONG),
            models.UniqueConstraint(fields=["v"], name=f"u{LONG}"[:63]),
        ],
    }
    before = item(options, v=models.IntegerField())
    changed = item(options, v=models.BigIntegerField())

    def begin() -> None:
        create(scratch, before)
        run(scratch, f"CREATE INDEX x{LONG[1:]} ON users_item (v)")
        run(scratch, "INSERT INTO users_item (id, v) VALUES (1, 1)")

    begin()
    alter(scratch, before, changed)
    wanted = definitions(scratch)
    for at in count(1):
        run(scratch, "DROP TABLE users_item")
        begin()
        killer = Killer(at)
        try:
            with scratch.execute_wrapper(killer):
                alter(scratch, before, changed)
        except Killed:
            alter(scratch, before, changed)
        assert definitions(scratch) == wanted, at
        assert run(scratch, "SELECT id, v FROM users_item") == [(1, 1)]
        if killer.count < at:
            break
    assert at > 20


def test_wide_rows_are_written_in_smaller_batches(scratch: DatabaseWrapper) -> None:
    before = item(v=models.TextField())
    create(scratch, before)
    for start in range(1, 601, 100):
        run(
            scratch,
            "INSERT INTO users_item (id, v) SELECT n, string_agg(md5(n::text || i), '') "
            f"FROM generate_series({start}, {start + 99}) AS n, "
            "generate_series(1, 700) AS i GROUP BY n",
        )
    alter(scratch, before, item(v=models.CharField(max_length=50000)))
    query = "SELECT count(*), min(length(v)) FROM users_item"
    assert run(scratch, query) == [(600, 32 * 700)]


@pytest.mark.parametrize(
    "to", [models.DateField(), models.BooleanField(), models.UUIDField()]
)
def test_a_type_that_values_cannot_be_cast_to_is_refused_before_anything_changed(
    scratch: DatabaseWrapper, to: Any
) -> None:
    before = item(v=models.BigIntegerField())
    create(scratch, before)
    was = definitions(scratch)
    with pytest.raises(NotSupportedError, match="values cannot be cast"):
        alter(scratch, before, item(v=to))
    assert (definitions(scratch), names(scratch)) == (was, {"id", "size", "v"})


def test_a_foreign_key_stays_when_its_type_cannot_change(
    scratch: DatabaseWrapper,
) -> None:
    number, uuid = (
        type(
            name,
            (models.Model,),
            {
                "id": key(primary_key=True),
                "Meta": type("Meta", (), {"app_label": "users"}),
                "__module__": __name__,
            },
        )
        for name, key in (("Number", models.BigIntegerField), ("U", models.UUIDField))
    )
    before, changed = (
        item(v=models.ForeignKey(to, models.CASCADE)) for to in (number, uuid)
    )
    for model in (number, uuid, before):
        create(scratch, model)
    was = definitions(scratch)
    with pytest.raises(NotSupportedError, match="from bigint to uuid"):
        alter(scratch, before, changed)
    assert definitions(scratch) == was


def test_a_member_of_a_composite_key_keeps_its_type(scratch: DatabaseWrapper) -> None:
    before, changed = (
        item(
            id=models.CompositePrimaryKey("size", "v"), size=models.IntegerField(), v=v
        )
        for v in (models.IntegerField(), models.BigIntegerField())
    )
    create(scratch, before)
    was = definitions(scratch)
    with pytest.raises(NotSupportedError, match="primary key"):
        alter(scratch, before, changed)
    assert (definitions(scratch), names(scratch)) == (was, {"size", "v"})


def test_no_table_is_made_for_an_index_that_cannot_be_built(
    scratch: DatabaseWrapper,
) -> None:
    gin = {"indexes": [GinIndex(fields=["v"], name="item_gin")]}
    with pytest.raises(NotSupportedError, match="no gin indexes"):
        create(scratch, item(gin, v=models.JSONField()))
    assert run(scratch, "SELECT to_regclass('users_item')") == [(None,)]


def test_an_index_keeps_the_place_of_its_nulls(scratch: DatabaseWrapper) -> None:
    index = models.Index(models.F("v").desc(nulls_last=True), "size", name="item_nulls")
    options = {"indexes": [index]}
    before, changed = (
        item(options, v=v(null=True))
        for v in (models.IntegerField, models.BigIntegerField)
    )
    create(scratch, before)
    was = definitions(scratch)
    assert any("(v NULLS FIRST, size)" in text for text in was)
    alter(scratch, before, changed)
    assert definitions(scratch) == was
