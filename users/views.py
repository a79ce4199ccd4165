"""Parse, call, answer."""

import uuid
from typing import Any, NoReturn

from django.conf import settings
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from config.api.conditions import ANY, Conditions, conditions_of
from config.api.problems import Problem
from config.api.views import JSONView, MergePatchParser, StrictJSONParser, region
from users import selectors, services
from users.serializers import UserInput
from users.versions import etag, tag

DEFAULT_LIMIT, MAX_LIMIT = 50, 100
LIST_PARAMETERS = {"limit", "cursor"}


def not_found() -> Problem:
    return Problem(404, "not_found", "There is no user with this id.")


def email_taken() -> Problem:
    pointer = {"pointer": "/email", "reason": "Already used by another user."}
    return Problem(
        409, "email_taken", "Another user has this e-mail.", errors=[pointer]
    )


def not_as_expected() -> Problem:
    return Problem(
        412,
        "precondition_failed",
        "The user has changed since. Read it again and decide anew.",
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
    parser_classes = [StrictJSONParser, MergePatchParser]

    def get(self, request: Request, user_id: uuid.UUID) -> Response:
        conditions = conditions_of(request)
        user = found(selectors.user_get(user_id=user_id))
        if conditions.match is not None and not conditions.match & {ANY, tag(user)}:
            raise not_as_expected()
        headers = {"ETag": etag(user)}
        if conditions.not_modified(tag(user)):
            return Response(status=304, headers=headers)
        return Response(user, headers=headers)

    def put(self, request: Request, user_id: uuid.UUID) -> Response:
        return change(request, user_id, partial=False)

    def patch(self, request: Request, user_id: uuid.UUID) -> Response:
        """A merge patch (RFC 7396); null would remove a member, and none can go."""
        return change(request, user_id, partial=True)

    def delete(self, request: Request, user_id: uuid.UUID) -> Response:
        conditions = expected(request)
        try:
            deleted = services.user_delete(user_id=user_id, conditions=conditions)
        except services.NotAsExpected:
            raise not_as_expected() from None
        if not deleted:
            raise not_found()
        return Response(status=204)


def found(user: dict[str, Any] | None) -> dict[str, Any]:
    if user is None:
        raise not_found()
    return user


def expected(request: Request) -> Conditions:
    """The conditions of a change, demanded where the deployment says so (RFC 6585)."""
    conditions = conditions_of(request)
    if settings.REQUIRE_IF_MATCH and conditions.match is None:
        raise Problem(
            428, "precondition_required", "Send If-Match with the ETag you last read."
        )
    return conditions


def change(request: Request, user_id: uuid.UUID, *, partial: bool) -> Response:
    conditions = expected(request)
    form = UserInput(data=request.data, partial=partial)
    form.is_valid(raise_exception=True)
    try:
        changed = services.user_update(
            user_id=user_id, conditions=conditions, **form.validated_data
        )
    except services.EmailTaken:
        raise email_taken() from None
    except services.NotAsExpected:
        raise not_as_expected() from None
    user = found(changed)
    return Response(user, headers={"ETag": etag(user)})


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
