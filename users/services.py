"""Writes: one statement each, which the backend repeats on a conflict."""

import math
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.db import InterfaceError, OperationalError
from django.db.models import Value
from django.db.models.functions import Lower
from django.http import HttpResponse
from django.utils import timezone

from config.api.bulk_import import Result, import_lines
from config.api.conditions import UNCONDITIONAL, Conditions
from config.api.idempotency import Attempt, insert_row
from config.api.problems import Problem
from config.api.resources import delete_row, refuse_duplicate, update_row
from config.dsql.conflicts import OutcomeUnknown
from config.dsql.writes import insert_missing
from users.models import User
from users.selectors import FIELDS
from users.serializers import validate_user

EMAIL_CONSTRAINT, EMAIL_INDEX = "users_user_email_unique", '(LOWER("email"))'


class EmailTaken(Problem):
    """Another user has this e-mail address; the unique index said so."""

    def __init__(self) -> None:
        pointer = {"pointer": "/email", "reason": "Already used by another user."}
        super().__init__(
            "email_taken", "Another user has this e-mail.", errors=[pointer]
        )


def user_build(*, name: str, email: str) -> User:
    """A new user, not stored yet."""
    now = timezone.now()
    return User(name=name, email=email, created_at=now, updated_at=now)


def user_create(
    user: User, response: HttpResponse, attempt: Attempt | None = None
) -> HttpResponse:
    """Insert the user; the response to send, which a repeated attempt replays.

    Raises EmailTaken.
    """
    with refuse_duplicate(EMAIL_CONSTRAINT, EmailTaken):
        return insert_row(user, response, attempt)


def user_update(
    *, user_id: uuid.UUID, conditions: Conditions = UNCONDITIONAL, **values: str
) -> dict[str, Any] | None:
    """Change the given fields, at least one; None when there is no such user.

    What has these values already keeps its version.

    Raises EmailTaken, and PreconditionFailed when a condition does not hold.
    """
    with refuse_duplicate(EMAIL_CONSTRAINT, EmailTaken):
        return update_row(User, user_id, values, fields=FIELDS, conditions=conditions)


def user_delete(*, user_id: uuid.UUID, conditions: Conditions = UNCONDITIONAL) -> bool:
    """True when the user existed. Raises PreconditionFailed when a condition does not hold."""
    return delete_row(User, user_id, conditions)


def users_import(
    lines: Iterable[bytes],
    *,
    seconds: float = math.inf,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Result]:
    """Users from lines of JSON; one whose e-mail address exists is skipped.

    See import_lines() for the results.
    """

    def build(data: dict[str, Any]) -> User:
        return user_build(**validate_user(data))

    return import_lines(
        lines, build=build, store=_insert_new, seconds=seconds, clock=clock
    )


def _insert_new(users: list[User]) -> list[Result]:
    """What became of each user. Raises the database's error."""
    insert_missing(users, conflict_target=EMAIL_INDEX)
    emails = [Lower(Value(user.email)) for user in users]
    rows = User.objects.annotate(key=Lower("email")).filter(key__in=emails)
    try:
        found = list(rows.values_list("email", "pk"))
    except (OperationalError, InterfaceError) as error:
        raise OutcomeUnknown(
            f"Users were stored, and who they are is unknown: {error}"
        ) from error
    ids = {email.lower(): key for email, key in found}
    return [_outcome(user, ids.get(user.email.lower())) for user in users]


def _outcome(user: User, key: uuid.UUID | None) -> Result:
    if key is None:  # the user that was in the way was deleted meanwhile
        return {"status": "failed", "cause": "write_conflict"}
    return {"status": "created" if key == user.pk else "exists", "id": key}
