"""Parse, call, answer."""

import logging
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, cast
from urllib.parse import urlencode

from django.conf import settings
from django.db import Error
from django.http import HttpResponse, StreamingHttpResponse
from rest_framework.request import Request

from config.api.access import get_caller, has_scope
from config.api.conditions import ANY, Conditions, parse_conditions
from config.api.idempotency import parse_attempt
from config.api.models import StoredResponse
from config.api.parameters import bad_parameter, parse
from config.api.problems import Problem, body, problem_from_database_error
from config.api.region import serving_region
from config.api.responses import empty_response, json_response, strip_body
from config.api.views import (
    JSONView,
    MergePatchParser,
    NDJSONParser,
    StrictJSONParser,
)
from users import bulk, parameters, selectors, services
from users.scopes import ADMIN, READ, WRITE
from users.serializers import validated
from users.versions import etag, tag

logger = logging.getLogger(__name__)
MAX_IMPORT_LINES = 10_000
Record = Callable[[dict[str, Any]], StoredResponse]


def not_found() -> Problem:
    return Problem("not_found", "There is no user with this id.")


def email_taken() -> Problem:
    pointer = {"pointer": "/email", "reason": "Already used by another user."}
    return Problem("email_taken", "Another user has this e-mail.", errors=[pointer])


def precondition_failed(conditions: Conditions) -> Problem:
    return Problem("precondition_failed", conditions.failure())


class Users(JSONView):
    scopes = {"GET": READ, "POST": WRITE}
    query = {"GET": parameters.PARAMETERS}
    key_methods = ("POST",)

    def get(self, request: Request) -> HttpResponse:
        values = parse(request.query_params, parameters.PARAMETERS)
        with refusing_cursors():
            page = selectors.user_list(
                limit=values.get("limit", parameters.DEFAULT_LIMIT),
                cursor=values.get("cursor"),
                filters=parameters.filters(values),
            )
        after, before = page_url(request, page.next), page_url(request, page.previous)
        links = ((after, "next"), (before, "prev"))
        link = ", ".join(f'<{url}>; rel="{relation}"' for url, relation in links if url)
        return json_response(
            {
                "users": page.users,
                "count": len(page.users),
                "region": serving_region(),
                "next": after,
                "previous": before,
            },
            headers={"Link": link} if link else None,
        )

    def post(self, request: Request) -> HttpResponse:
        values = validated(request.data)
        attempt = parse_attempt(request, get_caller(request).id)
        if attempt is None:
            response = create(request, values)
        else:

            def record(user: dict[str, Any]) -> StoredResponse:
                return attempt.record(created(request, user), user["id"])

            response = attempt.once(lambda: create(request, values, record))
        # Who repeats may be allowed less than who was first: the stored one is whole.
        return response if has_scope(request, READ) else strip_body(response)


def created(request: Request, user: dict[str, Any]) -> HttpResponse:
    headers = {"Location": f"{request.path}/{user['id']}", "ETag": etag(user)}
    return json_response(
        {**user, "region": serving_region()}, status=201, headers=headers
    )


def create(
    request: Request, values: dict[str, Any], record: Record | None = None
) -> HttpResponse:
    try:
        return created(request, services.user_create(**values, record=record))
    except services.EmailTaken as error:
        # The cause stays: it may be the first attempt's row that is in the way.
        raise email_taken() from error


class UsersImport(JSONView):
    scopes = {"POST": ADMIN}
    parser_classes = [NDJSONParser]
    # API Gateway sends four bytes for three, and Lambda takes 6 MB.
    max_body_bytes = 4_400_000

    def post(self, request: Request) -> StreamingHttpResponse:
        lines = cast(list[bytes], request.data)
        count = sum(1 for line in lines if line.strip())
        if not count:
            raise Problem("malformed", "Send at least one line.")
        if count > MAX_IMPORT_LINES:
            raise Problem(
                "too_large", f"Send at most {MAX_IMPORT_LINES} lines at once."
            )
        results = bulk.users_import(lines, seconds=bulk.IMPORT_SECONDS)
        # Read before the status is sent: a database that stores nothing makes it 503.
        first = next(results)
        return StreamingHttpResponse(
            bulk.as_lines(bulk.fitting(chain([first], results))),
            content_type=NDJSONParser.media_type,
        )


class UsersExport(JSONView):
    scopes = {"GET": ADMIN}
    query = {"GET": parameters.EXPORT_PARAMETERS}

    def get(self, request: Request) -> StreamingHttpResponse:
        values = parse(request.query_params, parameters.EXPORT_PARAMETERS)
        # For the status of HEAD one user is as good as all.
        most = 1 if request.method == "HEAD" else parameters.MAX_EXPORT
        with refusing_cursors():
            pages = bulk.users_export(
                limit=min(most, values.get("limit", most)),
                cursor=values.get("cursor"),
                filters=parameters.filters(values),
            )

        def lines() -> Iterator[dict[str, Any]]:
            """The last line tells that the answer is whole, and where to go on."""
            following, size = None, 0
            try:
                for page in pages:
                    yield from page.users
                    following = page_url(request, page.next)
                    size += bulk.size_of(page.users)
                    if size > bulk.EXPORT_BYTES:
                        break
            except Error as error:  # the status is sent already
                logger.warning("An export ended early: %s", error)
                yield {
                    "error": body(problem_from_database_error(error)),
                    "next": following,
                }
            else:
                yield {"next": following}

        return StreamingHttpResponse(
            bulk.as_lines(lines()), content_type=NDJSONParser.media_type
        )


class UserDetail(JSONView):
    scopes = {"GET": READ, "PUT": WRITE, "PATCH": WRITE, "DELETE": WRITE}
    parser_classes = [StrictJSONParser, MergePatchParser]
    conditional_methods = tuple(scopes)

    def get(self, request: Request, user_id: uuid.UUID) -> HttpResponse:
        conditions = parse_conditions(request)
        user = found(selectors.user_get(user_id=user_id))
        if conditions.match is not None and not conditions.match & {ANY, tag(user)}:
            raise precondition_failed(conditions)
        headers = {"ETag": etag(user)}
        if conditions.not_modified(tag(user)):
            return empty_response(304, headers)
        return json_response(user, headers=headers)

    def put(self, request: Request, user_id: uuid.UUID) -> HttpResponse:
        return change(request, user_id, partial=False)

    def patch(self, request: Request, user_id: uuid.UUID) -> HttpResponse:
        """A merge patch (RFC 7396); null would remove a member, and none can go."""
        return change(request, user_id, partial=True)

    def delete(self, request: Request, user_id: uuid.UUID) -> HttpResponse:
        conditions = expected(request)
        try:
            deleted = services.user_delete(user_id=user_id, conditions=conditions)
        except services.PreconditionFailed:
            raise precondition_failed(conditions) from None
        if not deleted:
            raise not_found()
        return empty_response(204)


def found(user: dict[str, Any] | None) -> dict[str, Any]:
    if user is None:
        raise not_found()
    return user


def expected(request: Request) -> Conditions:
    """The conditions of a change, demanded where the deployment says so (RFC 6585)."""
    conditions = parse_conditions(request)
    if settings.REQUIRE_IF_MATCH and conditions.match is None:
        raise Problem(
            "precondition_required", "Send If-Match with the ETag you last read."
        )
    return conditions


def change(request: Request, user_id: uuid.UUID, *, partial: bool) -> HttpResponse:
    conditions = expected(request)
    values = validated(request.data, partial=partial)
    if not values:
        raise Problem("invalid", "The patch is empty; send what the change is.")
    try:
        changed = services.user_update(user_id=user_id, conditions=conditions, **values)
    except services.EmailTaken:
        raise email_taken() from None
    except services.PreconditionFailed:
        raise precondition_failed(conditions) from None
    user = found(changed)
    headers = {"ETag": etag(user)}
    return (
        json_response(user, headers=headers)
        if has_scope(request, READ)
        else empty_response(204, headers)
    )


@contextmanager
def refusing_cursors() -> Iterator[None]:
    try:
        yield
    except selectors.BadCursor:
        raise bad_parameter("cursor", "Made for a list of another order.") from None


def page_url(request: Request, cursor: selectors.Cursor | None) -> str | None:
    """The same list at another place; a path, so that it holds in either Region."""
    if cursor is None:
        return None
    query = {**request.query_params.dict(), "cursor": cursor.encode()}
    return f"{request.path}?{urlencode(query)}"
