"""Parse, call, respond."""

import uuid
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from rest_framework.request import Request

from config.api import ndjson, pagination
from config.api.access import has_scope
from config.api.conditions import parse_conditions, required_conditions
from config.api.idempotency import parse_attempt
from config.api.parameters import parse
from config.api.parsers import MergePatchParser, NDJSONParser, StrictJSONParser
from config.api.problems import Problem
from config.api.resources import changed_response, created_response, read_response
from config.api.responses import empty_response, strip_body
from config.api.views import JSONView
from users import selectors, services
from users.filters import FILTERS, build_filters
from users.scopes import ADMIN, READ, WRITE
from users.selectors import FIELDS, ORDERS
from users.serializers import validate_user


def require_user(user: dict[str, Any] | None) -> dict[str, Any]:
    """Raises Problem 404."""
    if user is None:
        raise Problem("not_found", "There is no user with this id.")
    return user


class Users(JSONView):
    scopes = {"GET": READ, "POST": WRITE}
    query = {"GET": {**pagination.build_parameters(ORDERS), **FILTERS}}
    key_methods = ("POST",)

    def get(self, request: Request) -> HttpResponse:
        values = parse(request.query_params, self.query["GET"])
        page = selectors.user_list(
            limit=values.pop("limit", pagination.DEFAULT_LIMIT),
            cursor=values.pop("cursor", None),
            filters=build_filters(values),
        )
        return pagination.page_response(request, "users", page)

    def post(self, request: Request) -> HttpResponse:
        user = services.user_build(**validate_user(request.data))
        row = {field: getattr(user, field) for field in FIELDS}
        response = services.user_create(
            user, created_response(request, row), parse_attempt(request)
        )
        # Who repeats may be allowed less than who was first: the stored one is whole.
        return response if has_scope(request, READ) else strip_body(response)


class UsersImport(JSONView):
    scopes = {"POST": ADMIN}
    parser_classes = [NDJSONParser]
    max_body_bytes = ndjson.MAX_IMPORT_BYTES

    def post(self, request: Request) -> StreamingHttpResponse:
        return ndjson.import_response(request, services.users_import)


class UsersExport(JSONView):
    scopes = {"GET": ADMIN}
    query = {
        "GET": {
            **pagination.build_parameters(ORDERS, most=ndjson.MAX_EXPORT),
            **FILTERS,
        }
    }

    def get(self, request: Request) -> StreamingHttpResponse:
        values = parse(request.query_params, self.query["GET"])
        # For the status of HEAD one user is as good as all.
        most = 1 if request.method == "HEAD" else ndjson.MAX_EXPORT
        pages = selectors.user_pages(
            limit=min(most, values.pop("limit", most)),
            cursor=values.pop("cursor", None),
            filters=build_filters(values),
        )
        return ndjson.export_response(request, pages)


class UserDetail(JSONView):
    scopes = {"GET": READ, "PUT": WRITE, "PATCH": WRITE, "DELETE": WRITE}
    parser_classes = [StrictJSONParser, MergePatchParser]
    conditional_methods = tuple(scopes)

    def get(self, request: Request, user_id: uuid.UUID) -> HttpResponse:
        conditions = parse_conditions(request)
        user = require_user(selectors.user_get(user_id=user_id))
        return read_response(user, conditions)

    def put(self, request: Request, user_id: uuid.UUID) -> HttpResponse:
        return self._change(request, user_id, partial=False)

    def patch(self, request: Request, user_id: uuid.UUID) -> HttpResponse:
        """A merge patch (RFC 7396); null would remove a member, and none can go."""
        return self._change(request, user_id, partial=True)

    def delete(self, request: Request, user_id: uuid.UUID) -> HttpResponse:
        conditions = required_conditions(request)
        if not services.user_delete(user_id=user_id, conditions=conditions):
            require_user(None)
        return empty_response(204)

    def _change(
        self, request: Request, user_id: uuid.UUID, *, partial: bool
    ) -> HttpResponse:
        conditions = required_conditions(request)
        values = validate_user(request.data, partial=partial)
        if not values:
            raise Problem("invalid", "The patch is empty; send what the change is.")
        user = services.user_update(user_id=user_id, conditions=conditions, **values)
        return changed_response(request, require_user(user), scope=READ)
