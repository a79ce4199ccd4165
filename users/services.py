"""Writes: one statement each, which the backend repeats on a conflict."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import IntegrityError, connections
from django.db.models import Field, Model, Q, sql
from django.utils import timezone

from config.api import idempotency
from config.api.conditions import UNCONDITIONAL, Conditions
from config.dsql.conflicts import constraints
from users import versions
from users.models import User
from users.selectors import FIELDS

EMAIL_CONSTRAINT = "users_user_email_unique"


class EmailTaken(Exception):
    """Another user has this e-mail address; the unique index said so."""


class PreconditionFailed(Exception):
    """The user is there, but not in the state that the preconditions name."""


def user_create(
    *, name: str, email: str, record: Callable[[dict[str, Any]], Model] | None = None
) -> dict[str, Any]:
    """Insert a user, and with it the row that ``record`` makes of it. Raises EmailTaken."""
    now = timezone.now()
    user = User(name=name, email=email, created_at=now, updated_at=now)
    values = {field: getattr(user, field) for field in FIELDS}
    rows: list[Model] = [user]
    if record is not None:
        rows.append(record(values))
    with _email_taken():
        _insert(rows)
    return values


def user_update(
    *, user_id: uuid.UUID, conditions: Conditions = UNCONDITIONAL, **values: str
) -> dict[str, Any] | None:
    """Change the given fields, at least one; None when there is no such user.

    What has these values already keeps its version.

    Raises EmailTaken, and PreconditionFailed when a condition does not hold.
    """
    version = versions.NextVersion(timezone.now(), values)
    changed = {**values, "updated_at": version}
    which = Q(pk=user_id) & versions.precondition(conditions)
    with _email_taken():
        user = _update_returning(which, changed)
    if user is None:
        _refuse_if_there(user_id, conditions)
    return user


def user_delete(*, user_id: uuid.UUID, conditions: Conditions = UNCONDITIONAL) -> bool:
    """True when the user existed; what was stored about the creation is erased with it.

    Raises PreconditionFailed when a condition does not hold.
    """
    which = versions.precondition(conditions) & Q(pk=user_id)
    deleted = _delete(which, user_id)
    if not deleted:
        _refuse_if_there(user_id, conditions)
    return deleted


def _refuse_if_there(user_id: uuid.UUID, conditions: Conditions) -> None:
    """A missing user is 404 whatever the conditions: RFC 9110, section 13.2.1."""
    rows = User.objects.filter(pk=user_id)
    if conditions and rows.exists():
        raise PreconditionFailed


@contextmanager
def _email_taken() -> Iterator[None]:
    """Raises EmailTaken where a change meets the index of the addresses."""
    try:
        yield
    except IntegrityError as error:
        if EMAIL_CONSTRAINT in constraints(error):
            raise EmailTaken from error
        raise


def _insert(rows: list[Model]) -> None:
    """All rows or none: statements sent as one query are one transaction, one round trip."""
    database = connections["default"]  # the proxy looks it up at every attribute
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
    fields = model._meta.concrete_fields  # noqa: SLF001 - Django's documented Meta API
    query.insert_values(fields, [model()])
    compiler = query.get_compiler(connection=connections["default"])
    ((statement, _),) = compiler.as_sql()
    return statement, tuple(fields)


def _delete(which: Q, user_id: uuid.UUID) -> bool:
    """Two statements sent as one query: one transaction, one round trip."""
    database = connections["default"]
    query = User.objects.filter(which).query.chain(klass=sql.DeleteQuery)
    try:
        deletion, params = query.get_compiler(connection=database).as_sql()
    except EmptyResultSet:  # the precondition can hold for no row
        return False
    erasure, more = idempotency.erasure(User, user_id)
    with database.cursor() as cursor:
        cursor.execute(f"{deletion}; {erasure}", [*params, *more])
        return bool(cursor.rowcount)  # of the first statement


def _update_returning(which: Q, values: dict[str, Any]) -> dict[str, Any] | None:
    # Django 5.2 has no UPDATE … RETURNING; without it a change costs a second round trip.
    database = connections["default"]
    query = sql.UpdateQuery(User)
    query.add_update_values(values)
    try:
        query.add_q(which)
        statement, params = query.get_compiler(connection=database).as_sql()
    except EmptyResultSet:  # the precondition can hold for no row
        return None
    columns = ", ".join(database.ops.quote_name(field) for field in FIELDS)
    with database.cursor() as cursor:
        cursor.execute(f"{statement} RETURNING {columns}", params)
        row = cursor.fetchone()
    return dict(zip(FIELDS, row, strict=True)) if row else None
