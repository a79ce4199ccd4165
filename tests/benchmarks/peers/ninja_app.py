"""django-ninja on the same Django and models, behind Zappa."""

import time
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils import timezone
from ninja import Field, NinjaAPI, Schema

from tests.benchmarks.peers.common import HEADERS, log

Respond = Callable[[HttpRequest], HttpResponse]


def headers(get_response: Respond) -> Respond:
    def middleware(request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        response = get_response(request)
        for name, value in HEADERS.items():
            response[name] = value
        request_id = log(str(request.method), "/users", response.status_code, started)
        response["X-Request-Id"] = request_id
        return response

    return middleware


class NewUser(Schema):
    name: str = Field(min_length=1, max_length=100)
    email: str = Field(max_length=254, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")


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


api = NinjaAPI(urls_namespace="ninja")


@api.get("/users", response=Page)
def users(request: HttpRequest) -> Any:
    from users.models import User

    rows = list(User.objects.order_by("-created_at", "-id")[:51])[:50]
    return {"users": rows, "count": len(rows)}


@api.post("/users", response={201: Shown})
def create(request: HttpRequest, body: NewUser) -> Any:
    from users.models import User

    return 201, User.objects.create(**body.dict())


@api.get("/users/{uuid:user_id}", response=Shown)
def one(request: HttpRequest, user_id: uuid.UUID) -> Any:
    from users.models import User

    return User.objects.get(pk=user_id)


@api.patch("/users/{uuid:user_id}", response=Shown)
def change(request: HttpRequest, user_id: uuid.UUID, body: Patch) -> Any:
    from users.models import User

    user = User.objects.get(pk=user_id)
    for name, value in body.dict(exclude_unset=True).items():
        setattr(user, name, value)
    user.updated_at = timezone.now()
    user.save(update_fields=["name", "updated_at"])
    return user


urlpatterns = [path("", api.urls)]
application = get_wsgi_application()
