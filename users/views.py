"""Parse, call, answer."""

import uuid
from typing import Any, NoReturn

from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from config.api.problems import Problem
from config.api.views import JSONView, region
from users import selectors, services
from users.serializers import UserInput

DEFAULT_LIMIT, MAX_LIMIT = 50, 100
LIST_PARAMETERS = {"limit", "cursor"}


def etag(user: dict[str, Any]) -> str:
    return f'"{int(user["updated_at"].timestamp() * 1_000_000):x}"'


def not_found() -> Problem:
    return Problem(404, "not_found", "There is no user with this id.")


def email_taken() -> Problem:
    pointer = {"pointer": "/email", "reason": "Already used by another user."}
    return Problem(
        409, "email_taken", "Another user has this e-mail.", errors=[pointer]
    )


class Users(JSONView):
    def get(self, request: Request) -> Response:
        unknown = sorted(set(request.query_params) - LIST_PARAMETERS)
        if unknown:
            bad_parameter(
                unknown[0], "Unknown; pages are asked for by limit and cursor."
            )
        page = selectors.user_list(limit=limit_of(request), cursor=cursor_of(request))
        return Response(
            {
                "users": page.users,
                "count": len(page.users),
                "region": region(),
                "next": page_url(request, page.next),
                "previous": page_url(request, page.previous),
            }
        )

    def post(self, request: Request) -> Response:
        form = UserInput(data=request.data)
        form.is_valid(raise_exception=True)
        try:
            user = services.user_create(**form.validated_data)
        except services.EmailTaken:
            raise email_taken() from None
        location = reverse("user", args=[user["id"]])
        headers = {"Location": location, "ETag": etag(user)}
        return Response({**user, "region": region()}, status=201, headers=headers)


class UserDetail(JSONView):
    def get(self, request: Request, user_id: uuid.UUID) -> Response:
        return answer(selectors.user_get(user_id=user_id))

    def put(self, request: Request, user_id: uuid.UUID) -> Response:
        return change(request, user_id, partial=False)

    def patch(self, request: Request, user_id: uuid.UUID) -> Response:
        return change(request, user_id, partial=True)

    def delete(self, request: Request, user_id: uuid.UUID) -> Response:
        if not services.user_delete(user_id=user_id):
            raise not_found()
        return Response(status=204)


def answer(user: dict[str, Any] | None) -> Response:
    if user is None:
        raise not_found()
    return Response(user, headers={"ETag": etag(user)})


def change(request: Request, user_id: uuid.UUID, *, partial: bool) -> Response:
    form = UserInput(data=request.data, partial=partial)
    form.is_valid(raise_exception=True)
    try:
        return answer(services.user_update(user_id=user_id, **form.validated_data))
    except services.EmailTaken:
        raise email_taken() from None


def bad_parameter(name: str, reason: str) -> NoReturn:
    error = {"parameter": name, "reason": reason}
    raise Problem(
        400, "invalid_parameter", f"Query parameter {name}: {reason}", errors=[error]
    )


def limit_of(request: Request) -> int:
    text = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 3):
        bad_parameter("limit", f"Must be a whole number from 1 to {MAX_LIMIT}.")
    if not 1 <= int(text) <= MAX_LIMIT:
        bad_parameter("limit", f"Must be a whole number from 1 to {MAX_LIMIT}.")
    return int(text)


def cursor_of(request: Request) -> selectors.Cursor | None:
    text = request.query_params.get("cursor")
    if text is None:
        return None
    try:
        return selectors.Cursor.decode(text)
    except selectors.BadCursor:
        bad_parameter("cursor", "Not a cursor of this API; follow next or previous.")


def page_url(request: Request, cursor: selectors.Cursor | None) -> str | None:
    if cursor is None:
        return None
    return f"{reverse('users')}?limit={limit_of(request)}&cursor={cursor.encode()}"
