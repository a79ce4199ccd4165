"""The floor: one file, psycopg and json; no log line, no security headers."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import psycopg

from tests.benchmarks.peers.apps import statements

# Address, login and token are in the environment.
CONNECTION: psycopg.Connection[Any] = psycopg.connect(autocommit=True)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    method, path = event["httpMethod"], event["path"]
    if path == "/health/live":
        return respond(200, {"status": "ok"})
    try:
        user_id = path[len("/users/") :]
        if method == "POST":
            return create(json.loads(event["body"]))
        if method == "PATCH":
            return change(user_id, json.loads(event["body"]))
        if user_id:
            return one(user_id)
        return page(event["queryStringParameters"] or {})
    except psycopg.errors.UniqueViolation:
        return respond(409, {"error": "email_taken"})
    except ValueError as error:
        return respond(400, {"error": str(error)})


def one(user_id: str) -> dict[str, Any]:
    row = CONNECTION.execute(statements.ONE, [user_id]).fetchone()
    return respond(200, shown(row)) if row else respond(404, {"error": "not_found"})


def page(query: dict[str, str]) -> dict[str, Any]:
    limit = int(query.get("limit", 50))
    if cursor := query.get("cursor"):
        place = statements.decode_cursor(cursor)
        found = CONNECTION.execute(statements.NEXT_PAGE, [*place, limit + 1])
    else:
        found = CONNECTION.execute(statements.FIRST_PAGE, [limit + 1])
    rows = found.fetchall()
    users = [shown(row) for row in rows[:limit]]
    following = statements.build_next(users, limit) if len(rows) > limit else None
    return respond(200, {"users": users, "count": len(users), "next": following})


def create(body: dict[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC)
    row = (uuid.uuid4(), check_name(body), check_email(body), now, now)
    CONNECTION.execute(statements.CREATE, row)
    return respond(201, shown(row))


def change(user_id: str, body: dict[str, Any]) -> dict[str, Any]:
    values = [check_name(body), datetime.now(UTC), user_id]
    row = CONNECTION.execute(statements.CHANGE, values).fetchone()
    return respond(200, shown(row)) if row else respond(404, {"error": "not_found"})


def check_name(body: dict[str, Any]) -> str:
    name = body["name"]
    if not (isinstance(name, str) and 1 <= len(name) <= 100):
        raise ValueError("name: 1 to 100 characters")
    return name


def check_email(body: dict[str, Any]) -> str:
    email = body["email"]
    if not (isinstance(email, str) and statements.is_email(email)):
        raise ValueError("email: no e-mail address")
    return email


def shown(row: Any) -> dict[str, Any]:
    key, name, email, created_at, updated_at = row
    return {
        "id": str(key), "name": name, "email": email,
        "created_at": created_at.isoformat(), "updated_at": updated_at.isoformat(),
    }  # fmt: skip


def respond(status: int, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(content),
    }
