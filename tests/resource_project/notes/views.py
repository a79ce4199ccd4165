import uuid
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from config.api import pagination
from config.api.access import has_scope
from config.api.conditions import parse_conditions, required_conditions
from config.api.idempotency import parse_attempt
from config.api.parameters import parse, parse_text
from config.api.parsers import MergePatchParser, StrictJSONParser
from config.api.problems import Problem
from config.api.resources import changed_response, created_response, read_response
from config.api.responses import empty_response, strip_body
from config.api.views import JSONView
from tests.resource_project.notes import selectors, services
from tests.resource_project.notes.models import Note
from tests.resource_project.notes.scopes import READ, WRITE
from tests.resource_project.notes.serializers import validate_note


def parse_title(text: str) -> str:
    return parse_text("title", text, 100)


def require_note(note: dict[str, Any] | None) -> dict[str, Any]:
    if note is None:
        raise Problem("not_found", "There is no note with this id.")
    return note


class Notes(JSONView):
    scopes = {"GET": READ, "POST": WRITE}
    query = {
        "GET": {**pagination.build_parameters(selectors.ORDERS), "title": parse_title}
    }
    key_methods = ("POST",)

    def get(self, request: Request) -> HttpResponse:
        values = parse(request.query_params, self.query["GET"])
        page = selectors.note_list(
            limit=values.pop("limit", pagination.DEFAULT_LIMIT),
            cursor=values.pop("cursor", None),
            filters=selectors.Filters(**values),
        )
        return pagination.page_response(request, "notes", page)

    def post(self, request: Request) -> HttpResponse:
        note = Note(**validate_note(request.data))
        row = {field: getattr(note, field) for field in selectors.FIELDS}
        response = services.note_create(
            note, created_response(request, row), parse_attempt(request)
        )
        return response if has_scope(request, READ) else strip_body(response)


class NoteDetail(JSONView):
    scopes = {"GET": READ, "PATCH": WRITE, "DELETE": WRITE}
    parser_classes = [StrictJSONParser, MergePatchParser]
    conditional_methods = tuple(scopes)

    def get(self, request: Request, note_id: uuid.UUID) -> HttpResponse:
        conditions = parse_conditions(request)
        note = require_note(selectors.note_get(note_id=note_id))
        return read_response(note, conditions)

    def patch(self, request: Request, note_id: uuid.UUID) -> HttpResponse:
        conditions = required_conditions(request)
        values = validate_note(request.data, partial=True)
        note = services.note_update(note_id=note_id, conditions=conditions, **values)
        return changed_response(request, require_note(note), scope=READ)

    def delete(self, request: Request, note_id: uuid.UUID) -> HttpResponse:
        conditions = required_conditions(request)
        if not services.note_delete(note_id=note_id, conditions=conditions):
            require_note(None)
        return empty_response(204)
