"""Writes in one round trip: statements sent as one query are one transaction.

Django sends a transaction's statements one by one.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.db import connections
from django.db.models import Field, Model, sql

from .prepared import Bound

DATABASE = "default"


def insert_rows(rows: Sequence[Model]) -> None:
    """Insert all rows or none, whatever their models. Raises TypeError for expressions."""
    database = connections[DATABASE]  # the proxy looks it up at every attribute
    statements, params = [], []
    for row in rows:
        statement, fields = _insertion(type(row))
        statements.append(statement)
        for field in fields:
            value = field.pre_save(row, add=True)
            if hasattr(value, "resolve_expression"):
                raise TypeError(
                    f"insert_rows() takes values, and {field} is {value!r}."
                )
            params.append(field.get_db_prep_save(value, database))
    with database.cursor() as cursor:
        cursor.execute("; ".join(statements), params)


@cache
def _insertion(model: type[Model]) -> "tuple[str, tuple[Field[Any, Any], ...]]":
    """The statement that inserts one row of the model, and the fields it takes.

    Composed once: that costs a tenth of a request, and every row's is the same.
    """
    query = sql.InsertQuery(model)
    fields = model._meta.concrete_fields
    if any(field.has_db_default() for field in fields):
        raise TypeError(f"insert_rows() makes no values in the database: {model}.")
    query.insert_values(fields, [model()])
    compiler = query.get_compiler(connection=connections[DATABASE])
    ((statement, _),) = compiler.as_sql()
    return statement, tuple(fields)


def insert_missing(rows: Sequence[Model], *, conflict_target: str) -> None:
    """Insert the rows that do not conflict with an existing one on the unique index.

    The target names the index's columns as SQL: whatever else is in the way is an error.
    A recording of a real cluster has ON CONFLICT with a column; with an expression it is
    PostgreSQL's.
    """
    model, database = type(rows[0]), connections[DATABASE]
    query = sql.InsertQuery(model)
    query.insert_values(model._meta.concrete_fields, [*rows])
    with database.cursor() as cursor:
        for statement, params in query.get_compiler(connection=database).as_sql():
            cursor.execute(
                f"{statement} ON CONFLICT {conflict_target} DO NOTHING", params
            )


def execute_together(*statements: Bound) -> int:
    """Run the statements as one transaction; how many rows the first one changed."""
    text = "; ".join(statement.sql for statement in statements)
    params = [value for statement in statements for value in statement.params]
    with connections[DATABASE].cursor() as cursor:
        cursor.execute(text, params)
        return int(cursor.rowcount)
