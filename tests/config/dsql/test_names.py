"""Names of letters that take more than one byte: PostgreSQL cuts a name by bytes."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, ProgrammingError, models
from django.test.utils import isolate_apps

from config.dsql.base import DatabaseWrapper
from tests.config.dsql.conftest import run
from tests.config.dsql.items import add, alter, create, item, names

# 28 and 27 letters; the last two are alike in their first 37 bytes.
DATE = "дата_последнего_обращения_кл"
FIRST, SECOND = "примечание_менеджера_первое", "примечание_менеджера_второе"
# 80 bytes: PostgreSQL knows the first 31 letters.
LONG = "самое_длинное_название_столбца_на_свете_"


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    with isolate_apps("users"):
        yield


def having(field: Callable[[], Any], *columns: str) -> Any:
    """A model of the table users_item with the field under each of the names."""
    fields: dict[str, Any] = {column: field() for column in columns}
    return item(**fields)


def nullable(scratch: DatabaseWrapper, column: str) -> bool:
    with scratch.cursor() as cursor:
        found = scratch.introspection.get_table_description(cursor, "users_item")
    return bool(next(each.null_ok for each in found if column.startswith(each.name)))


@pytest.mark.parametrize("name", [DATE, FIRST, SECOND, LONG, "列" * 20, "列" * 30])
def test_a_column_is_added_changed_and_may_be_null_again(
    scratch: DatabaseWrapper, name: str
) -> None:
    before, wider, after = (
        having(partial(models.CharField, **options), name)
        for options in (
            {"max_length": 20, "default": "x"},
            {"max_length": 40, "default": "x"},
            {"max_length": 40, "null": True},
        )
    )
    create(scratch, item())
    run(scratch, "INSERT INTO users_item (id) VALUES (1)")
    add(scratch, before, name, models.CharField(max_length=20, default="x"))
    assert not nullable(scratch, name)
    alter(scratch, before, wider, name)
    assert not nullable(scratch, name)
    alter(scratch, wider, after, name)
    assert nullable(scratch, name)
    run(scratch, "INSERT INTO users_item (id) VALUES (2)")
    assert len(names(scratch)) == 3


@pytest.mark.parametrize(
    "options", [{"unique": True}, {"db_index": True}], ids=["unique", "index"]
)
def test_indexes_of_columns_that_begin_alike_are_built_and_removed(
    scratch: DatabaseWrapper, options: dict[str, Any]
) -> None:
    plain, indexed = (
        having(partial(models.TextField, **each), FIRST, SECOND)
        for each in ({}, options)
    )
    create(scratch, plain)
    for name in (FIRST, SECOND):
        alter(scratch, plain, indexed, name)
    found = indexes(scratch)
    assert len(found) == 3
    assert all(valid for _, valid in found)
    for name in (FIRST, SECOND):
        alter(scratch, indexed, plain, name)
    assert len(indexes(scratch)) == 1


def test_a_unique_column_of_a_long_name_keeps_its_index_when_its_type_changes(
    scratch: DatabaseWrapper,
) -> None:
    before, after = (
        having(partial(models.CharField, max_length=length, unique=True), LONG)
        for length in (20, 40)
    )
    create(scratch, before)
    insert = f'INSERT INTO users_item (id, "{LONG}") VALUES '
    run(scratch, f"{insert}(1, 'a')")
    names_before = indexes(scratch)
    alter(scratch, before, after, LONG)
    assert indexes(scratch) == names_before
    with pytest.raises(IntegrityError):
        run(scratch, f"{insert}(2, 'a')")


def test_constraints_of_the_model_are_found_under_names_that_are_cut(
    scratch: DatabaseWrapper,
) -> None:
    constraint = models.UniqueConstraint(fields=["size"], name=LONG)
    check = models.CheckConstraint(
        condition=models.Q(size__gt=0), name=f"проверка_{LONG}"
    )
    model = item()
    create(scratch, model)
    for each in (constraint, check):
        for change in ("add_constraint", "remove_constraint", "add_constraint"):
            with scratch.schema_editor() as editor:
                getattr(editor, change)(model, each)
    with pytest.raises(IntegrityError):
        run(scratch, "INSERT INTO users_item VALUES (1, 0)")


def test_a_table_of_a_long_name_is_found(scratch: DatabaseWrapper) -> None:
    model = item({"db_table": LONG}, v=models.TextField(default="x"))
    create(scratch, model)
    create(scratch, model)  # continues where it ended
    with scratch.cursor() as cursor:
        assert scratch.introspection.get_table_description(cursor, LONG)
    alter(scratch, model, item({"db_table": LONG}, v=models.TextField(null=True)))
    run(scratch, f'INSERT INTO "{LONG}" (id) VALUES (1)')


def test_a_table_of_another_schema_is_described_with_its_schema(
    scratch: DatabaseWrapper,
) -> None:
    run(scratch, "CREATE SCHEMA elsewhere")
    try:
        run(scratch, "CREATE TABLE elsewhere.there (id bigint NOT NULL)")
        run(scratch, "SET search_path = scratch, elsewhere")
        describe = scratch.introspection.get_table_description
        with scratch.cursor() as cursor:
            assert [c.name for c in describe(cursor, '"elsewhere"."there"')] == ["id"]
            with pytest.raises(ProgrammingError, match="Name its schema too"):
                describe(cursor, "there")
    finally:
        run(scratch, "DROP SCHEMA elsewhere CASCADE")


def test_a_column_that_does_not_exist_is_named(scratch: DatabaseWrapper) -> None:
    before = item(v=models.IntegerField())
    create(scratch, item())
    for after in (models.IntegerField(null=True), models.TextField()):
        with pytest.raises(ProgrammingError, match="users_item has no column v"):
            alter(scratch, before, item(v=after))


def indexes(scratch: DatabaseWrapper) -> list[tuple[str, bool]]:
    return run(
        scratch,
        "SELECT x.relname, i.indisvalid FROM pg_index i "
        "JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = current_schema() AND c.relname = 'users_item' ORDER BY x.relname",
    )
