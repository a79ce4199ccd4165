"""A table of items, whose columns are added and changed."""

from itertools import count
from typing import Any

from django.db import IntegrityError, models

from config.dsql.base import DatabaseWrapper
from tests.config.dsql.conftest import run

NUMBERS = count()


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


def add(scratch: DatabaseWrapper, model: Any, name: str, field: Any) -> None:
    field.set_attributes_from_name(name)
    field.model = model
    with scratch.schema_editor() as editor:
        editor.add_field(model, field)


def names(scratch: DatabaseWrapper) -> set[str]:
    """Of the columns."""
    with scratch.cursor() as cursor:
        found = scratch.introspection.get_table_description(cursor, "users_item")
    return {column.name for column in found}


def definitions(scratch: DatabaseWrapper) -> set[str]:
    """Every constraint and index, its validity and its text."""
    found = run(
        scratch,
        "SELECT conname, convalidated::text, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conrelid = 'users_item'::regclass "
        "UNION ALL SELECT indexname, '', indexdef FROM pg_indexes "
        "WHERE tablename = 'users_item'",
    )
    return {" ".join(row) for row in found}


def refused(scratch: DatabaseWrapper, values: str) -> bool:
    try:
        run(scratch, f"INSERT INTO users_item (size, id, v) VALUES (1, {values})")
    except IntegrityError:
        return True
    return False
