"""Columns that change their type: what holds meanwhile, and what is left by an error."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from django.db import models
from django.test.utils import isolate_apps

from config.dsql.base import DatabaseWrapper
from tests.config.dsql.conftest import run

NUMBERS = count()


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    with isolate_apps("users"):
        yield


def item(options: dict[str, Any] | None = None, **fields: Any) -> Any:
    """A model of the table users_item with an integer key and the given fields."""
    body = {
        "id": models.BigIntegerField(primary_key=True),
        "size": models.IntegerField(null=True),
        **fields,
        "Meta": type(
            "Meta",
            (),
            {"app_label": "users", "db_table": "users_item", **(options or {})},
        ),
        "__module__": __name__,
    }
    return type(f"Item{next(NUMBERS)}", (models.Model,), body)


def create(scratch: DatabaseWrapper, model: Any) -> None:
    with scratch.schema_editor() as editor:
        editor.create_model(model)


def alter(scratch: DatabaseWrapper, before: Any, after: Any, name: str = "v") -> None:
    with scratch.schema_editor() as editor:
        editor.alter_field(
            before, before._meta.get_field(name), after._meta.get_field(name)
        )


class FixedField(models.Field):
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
