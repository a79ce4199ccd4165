"""Writes in one round trip: statements sent as one query are one transaction.

Django sends a transaction's statements one by one, and 5.2 has no UPDATE … RETURNING.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import Field, Model, QuerySet, sql

DATABASE = "default"
Statement = tuple[str, Sequence[Any]]  # with its parameters


def insert_rows(rows: Sequence[Model]) -> None:
    """Insert all rows or none, whatever their models."""
    database = connections[DATABASE]  # the proxy looks it up at every attribute
    statements, params = [], []
    for row in rows:
        statement, fields = _insertion(type(row))
        statements.append(statement)
        params += [
            field.get_db_prep_save(getattr(row, field.attname), database)
            for field in fields
        ]
    with database.cursor() as cursor:
        cursor.execute("; ".join(statements), params)


@cache
def _insertion(model: type[Model]) -> "tuple[str, tuple[Field[Any, Any], ...]]":
    """The statement that inserts one row of the model, and the fields it takes.

    Composed once: that costs a tenth of a request, and every row's is the same.
    """
    query = sql.InsertQuery(model)
    fields = model._meta.concrete_fields
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


def update_returning(
    rows: QuerySet[Any, Any], values: Mapping[str, Any], fields: Sequence[str]
) -> list[dict[str, Any]]:
    """Set the values; the named fields of every row that was updated."""
    database = connections[DATABASE]
    query: Any = rows.query.chain(klass=sql.UpdateQuery)
    query.add_update_values(values)
    compiler = query.get_compiler(connection=database)
    try:
        statement, params = compiler.as_sql()
    except EmptyResultSet:  # the conditions can hold for no row
        return []
    table = rows.model._meta.db_table
    columns = [rows.model._meta.get_field(name).get_col(table) for name in fields]
    names = ", ".join(database.ops.quote_name(each.target.column) for each in columns)
    with database.cursor() as cursor:
        cursor.execute(f"{statement} RETURNING {names}", params)
        found = cursor.fetchall()
    if converters := compiler.get_converters(columns):
        found = list(compiler.apply_converters(found, converters))
    return [dict(zip(fields, row, strict=True)) for row in found]


def delete_with(rows: QuerySet[Any, Any], *others: Statement) -> int:
    """Delete the rows and run the other statements behind; how many rows were deleted."""
    database = connections[DATABASE]
    query = rows.query.chain(klass=sql.DeleteQuery)
    try:
        statement, params = query.get_compiler(connection=database).as_sql()
    except EmptyResultSet:  # the conditions can hold for no row
        return 0
    text = "; ".join([statement, *(other for other, _ in others)])
    values = [*params, *(value for _, more in others for value in more)]
    with database.cursor() as cursor:
        cursor.execute(text, values)
        return int(cursor.rowcount)  # of the first statement
