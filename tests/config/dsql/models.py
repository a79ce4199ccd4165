"""Models of one table, in their versions before and after a change."""

from typing import Any

from django.db import (
    models,
)

from config.dsql.base import DatabaseWrapper


def model(name: str = "Item", **fields: Any) -> Any:
    """A model of the table users_item with an integer key and the given fields."""
    options = fields.pop("options", {})
    meta = type("Meta", (), {"app_label": "users", "db_table": "users_item", **options})
    key = models.BigIntegerField(primary_key=True)
    return type(
        name,
        (models.Model,),
        {"id": key, **fields, "Meta": meta, "__module__": __name__},
    )


def build(name: str, field: Any, options: dict[str, Any]) -> Any:
    meta = type("Meta", (), {"app_label": "users", "db_table": "users_item", **options})
    body = {
        "id": models.BigIntegerField(primary_key=True),
        "name": field,
        "size": models.IntegerField(),
        "Meta": meta,
        "__module__": __name__,
    }
    return type(name, (models.Model,), body)


def create(scratch: DatabaseWrapper, made: Any) -> None:
    with scratch.schema_editor() as editor:
        editor.create_model(made)


def alter(scratch: DatabaseWrapper, before: Any, after: Any, name: str) -> None:
    with scratch.schema_editor() as editor:
        editor.alter_field(
            before, before._meta.get_field(name), after._meta.get_field(name)
        )


def added(field: Any, to: Any, name: str) -> Any:
    field.set_attributes_from_name(name)
    field.model = to
    return field


def described(scratch: DatabaseWrapper) -> dict[str, Any]:
    with scratch.cursor() as cursor:
        return {
            "columns": scratch.introspection.get_table_description(
                cursor, "users_item"
            ),
            "constraints": scratch.introspection.get_constraints(cursor, "users_item"),
        }
