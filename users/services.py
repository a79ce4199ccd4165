"""Writes: one statement each, repeated on conflict."""

import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import IntegrityError, connection
from django.db.models import Q, sql
from django.utils import timezone

from config.dsql.retry import run_statement
from users.models import User
from users.selectors import FIELDS

Result = TypeVar("Result")
EMAIL_CONSTRAINT = "users_user_email_unique"


class EmailTaken(Exception):
    """Another user has this e-mail address; the unique index said so."""


def user_create(*, name: str, email: str) -> dict[str, Any]:
    """Insert a user. Raises EmailTaken."""
    now = timezone.now()
    user = User(name=name, email=email, created_at=now, updated_at=now)
    _write(lambda: user.save(force_insert=True))
    return {field: getattr(user, field) for field in FIELDS}


def user_update(*, user_id: uuid.UUID, **values: str) -> dict[str, Any] | None:
    """Change the given fields; None when there is no such user. Raises EmailTaken."""
    changed = {**values, "updated_at": timezone.now()}
    return _write(lambda: _update_returning(user_id, changed))


def user_delete(*, user_id: uuid.UUID) -> bool:
    """True when the user existed."""
    rows = User.objects.filter(pk=user_id)
    # delete() wraps its one statement in BEGIN and COMMIT: two round trips more.
    return bool(run_statement(lambda: rows._raw_delete("default")))  # noqa: SLF001


def _write(work: Callable[[], Result]) -> Result:
    try:
        return run_statement(work)
    except IntegrityError as error:
        diagnostics = getattr(error.__cause__, "diag", None)
        if diagnostics is not None and diagnostics.constraint_name == EMAIL_CONSTRAINT:
            raise EmailTaken from error
        raise


def _update_returning(
    user_id: uuid.UUID, values: dict[str, Any]
) -> dict[str, Any] | None:
    # Django 5.2 has no UPDATE … RETURNING; without it a change costs a second round trip.
    query = sql.UpdateQuery(User)
    query.add_q(Q(pk=user_id))
    query.add_update_values(values)
    statement, params = query.get_compiler(connection=connection).as_sql()
    columns = ", ".join(connection.ops.quote_name(field) for field in FIELDS)
    with connection.cursor() as cursor:
        cursor.execute(f"{statement} RETURNING {columns}", params)
        row = cursor.fetchone()
    return dict(zip(FIELDS, row, strict=True)) if row else None
