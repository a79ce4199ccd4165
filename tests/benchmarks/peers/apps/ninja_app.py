"""django-ninja on Django's own PostgreSQL backend, behind Zappa."""

import uuid
from datetime import datetime
from typing import Any, ClassVar

from django.db import IntegrityError, models
from django.db.models.fields.tuple_lookups import Tuple, TupleLessThan
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils import timezone
from ninja import Field, NinjaAPI, Schema
from ninja.errors import HttpError

from tests.benchmarks.peers.apps import statements


class User(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=100)
    email = models.EmailField()
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    # Said, for the plugin of mypy knows only the models of the project's settings.
    objects: ClassVar[models.Manager["User"]] = models.Manager()

    class Meta:
        app_label = "peers"
        db_table = "users_user"
        managed = False

    def __str__(self) -> str:
        return str(self.id)


class NewUser(Schema):
    name: str = Field(min_length=1, max_length=100)
    email: str = Field(max_length=254, pattern=statements.EMAIL)


class Patch(Schema):
    name: str | None = Field(default=None, min_length=1, max_length=100)


class Shown(Schema):
    id: uuid.UUID
    name: str
    email: str
    created_at: datetime
    updated_at: datetime


class Page(Schema):
    users: list[Shown]
    count: int
    next: str | None


api = NinjaAPI()


@api.get("/health/live")
def health(request: HttpRequest) -> dict[str, str]:
    return {"status": "ok"}


@api.get("/users", response=Page)
def users(request: HttpRequest, limit: int = 50, cursor: str | None = None) -> Any:
    newest = User.objects.order_by("-created_at", "-id")
    if cursor:
        place = statements.decode_cursor(cursor)
        newest = newest.filter(TupleLessThan(Tuple("created_at", "id"), place))
    rows = list(newest[: limit + 1])
    shown, following = rows[:limit], None
    if len(rows) > limit:
        following = statements.build_next([vars(shown[-1])], limit)
    return {"users": shown, "count": len(shown), "next": following}


@api.post("/users", response={201: Shown})
def create(request: HttpRequest, body: NewUser) -> Any:
    try:
        return 201, User.objects.create(**body.dict())
    except IntegrityError as error:
        raise HttpError(409, "email_taken") from error


@api.get("/users/{uuid:user_id}", response=Shown)
def one(request: HttpRequest, user_id: uuid.UUID) -> Any:
    return get_object_or_404(User, pk=user_id)


@api.patch("/users/{uuid:user_id}", response=Shown)
def change(request: HttpRequest, user_id: uuid.UUID, body: Patch) -> Any:
    user = get_object_or_404(User, pk=user_id)
    values = {**body.dict(exclude_unset=True), "updated_at": timezone.now()}
    for name, value in values.items():
        setattr(user, name, value)
    user.save(update_fields=list(values))
    return user


urlpatterns = [path("", api.urls)]
