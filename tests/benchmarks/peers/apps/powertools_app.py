"""AWS Powertools' REST resolver with pydantic's models, on psycopg."""

import uuid
from datetime import UTC, datetime
from typing import Any

import psycopg
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError, ServiceError
from psycopg.rows import class_row
from pydantic import BaseModel, Field, ValidationError

from tests.benchmarks.peers.apps import statements


class NewUser(BaseModel):
    name: str = Field(min_length=1, max_length=100)
    email: str = Field(max_length=254, pattern=statements.EMAIL)


class Patch(BaseModel):
    name: str = Field(min_length=1, max_length=100)


class User(BaseModel):
    id: uuid.UUID
    name: str
    email: str
    created_at: datetime
    updated_at: datetime


class Page(BaseModel):
    users: list[User]
    count: int
    next: str | None


CONNECTION: psycopg.Connection[User] = psycopg.connect(
    autocommit=True, row_factory=class_row(User)
)
app = APIGatewayRestResolver()


@app.get("/health/live")
def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/users")
def users() -> Response[str]:
    query = app.current_event.query_string_parameters
    limit = int(query.get("limit", 50))
    if cursor := query.get("cursor"):
        place = statements.decode_cursor(cursor)
        found = CONNECTION.execute(statements.NEXT_PAGE, [*place, limit + 1])
    else:
        found = CONNECTION.execute(statements.FIRST_PAGE, [limit + 1])
    rows = found.fetchall()
    shown, following = rows[:limit], None
    if len(rows) > limit:
        following = statements.build_next([vars(shown[-1])], limit)
    return respond(200, Page(users=shown, count=len(shown), next=following))


@app.get("/users/<user_id>")
def one(user_id: str) -> Response[str]:
    return respond(200, CONNECTION.execute(statements.ONE, [user_id]).fetchone())


@app.post("/users")
def create() -> Response[str]:
    body = NewUser.model_validate_json(app.current_event.body or "")
    now = datetime.now(UTC)
    user = User(id=uuid.uuid4(), **vars(body), created_at=now, updated_at=now)
    CONNECTION.execute(statements.CREATE, tuple(vars(user).values()))
    return respond(201, user)


@app.patch("/users/<user_id>")
def change(user_id: str) -> Response[str]:
    body = Patch.model_validate_json(app.current_event.body or "")
    values = [body.name, datetime.now(UTC), user_id]
    return respond(200, CONNECTION.execute(statements.CHANGE, values).fetchone())


@app.exception_handler(ValidationError)
def invalid(error: ValidationError) -> Response[str]:
    return Response(422, "application/json", error.json())


@app.exception_handler(psycopg.errors.UniqueViolation)
def taken(error: psycopg.errors.UniqueViolation) -> Response[str]:
    raise ServiceError(409, "email_taken")


def respond(status: int, content: BaseModel | None) -> Response[str]:
    if content is None:
        raise NotFoundError
    return Response(status, "application/json", content.model_dump_json())


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    response: dict[str, Any] = app.resolve(event, context)
    return response
