"""Django REST framework by hand at its best.

SQL through ``connection.cursor()``, times as text from the database, UPDATE … RETURNING,
one renderer and one parser, no negotiation, no middleware, no Zappa; everything is
imported and connected while the function starts.
"""

import io
import uuid
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import msgspec

from tests.benchmarks.peers.apps import statements
from tests.benchmarks.peers.apps.drf_settings import ROOT_URLCONF  # sets Django up

# isort: split
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.db import IntegrityError, connection
from django.http import HttpRequest, HttpResponse
from django.urls import get_resolver, path
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

# Of the values that Django reads, those of times cost most: it parses each in Python.
TIME = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
TEXTS = (
    f"id::text, name, email, {TIME.format('created_at')}, {TIME.format('updated_at')}"
)


def as_texts(statement: str, keyword: str) -> str:
    return statement.replace(f"{keyword} {statements.COLUMNS}", f"{keyword} {TEXTS}")


ONE = as_texts(statements.ONE, "SELECT")
FIRST_PAGE = as_texts(statements.FIRST_PAGE, "SELECT")
NEXT_PAGE = as_texts(statements.NEXT_PAGE, "SELECT")
CHANGE = as_texts(statements.CHANGE, "RETURNING")
encode = msgspec.json.Encoder(enc_hook=str).encode  # DRF's messages are no plain str


class JSONRenderer(BaseRenderer):
    media_type, format, charset = "application/json", "json", None

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        return encode(data)


class JSONParser(BaseParser):
    media_type = "application/json"

    def parse(self, stream: Any, *args: Any, **kwargs: Any) -> Any:
        return msgspec.json.decode(stream.read())


class View(APIView):
    renderer_classes = [JSONRenderer]
    parser_classes = [JSONParser]
    renderer = JSONRenderer()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        request.accepted_renderer = self.renderer
        request.accepted_media_type = self.renderer.media_type


class NewUser(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=100)
    email = serializers.EmailField(max_length=254)


NEW, PATCH = NewUser(), NewUser(partial=True)


class Users(View):
    def get(self, request: Request) -> Response:
        limit = int(request.GET.get("limit", 50))
        if cursor := request.GET.get("cursor"):
            place = statements.decode_cursor(cursor)
            rows = fetch(NEXT_PAGE, [*place, limit + 1])
        else:
            rows = fetch(FIRST_PAGE, [limit + 1])
        users = [shown(row) for row in rows[:limit]]
        following = statements.build_next(users, limit) if len(rows) > limit else None
        return Response({"users": users, "count": len(users), "next": following})

    def post(self, request: Request) -> Response:
        values = NEW.run_validation(request.data)
        now = datetime.now(UTC)
        row = (uuid.uuid4(), values["name"], values["email"], now, now)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statements.CREATE, row)
        except IntegrityError:
            return Response({"error": "email_taken"}, status=409)
        return Response(shown(row), status=201)


class User(View):
    def get(self, request: Request, user_id: uuid.UUID) -> Response:
        return one(fetch(ONE, [user_id]))

    def patch(self, request: Request, user_id: uuid.UUID) -> Response:
        values = PATCH.run_validation(request.data)
        if "name" not in values:
            raise ValidationError({"name": "required"})
        return one(fetch(CHANGE, [values["name"], datetime.now(UTC), user_id]))


def health(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b'{"status":"ok"}', content_type="application/json")


def fetch(statement: str, params: list[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        rows: list[Any] = cursor.fetchall()
    return rows


def one(rows: list[Any]) -> Response:
    if not rows:
        return Response({"error": "not_found"}, status=404)
    return Response(shown(rows[0]))


def shown(row: Any) -> dict[str, Any]:
    return dict(zip(statements.FIELDS, row, strict=True))


urlpatterns = [
    path("users", Users.as_view()),
    path("users/<uuid:user_id>", User.as_view()),
    path("health/live", health),
]
application = WSGIHandler()
get_resolver(ROOT_URLCONF).url_patterns  # noqa: B018 - the property compiles the patterns
connection.ensure_connection()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """The least bridge from API Gateway to WSGI."""
    body = (event["body"] or "").encode()
    environ = {
        "REQUEST_METHOD": event["httpMethod"], "SCRIPT_NAME": "",
        "PATH_INFO": event["path"], "SERVER_NAME": "lambda", "SERVER_PORT": "443",
        "QUERY_STRING": urlencode(event["queryStringParameters"] or {}),
        "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "https",
    }  # fmt: skip
    for name, value in event["headers"].items():
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    response: Any = application.get_response(WSGIRequest(environ))
    response.close()
    return {
        "statusCode": response.status_code,
        "headers": dict(response.items()),
        "body": response.content.decode(),
    }
