"""The floor: one file, psycopg and json."""

import json
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import psycopg

from tests.benchmarks.peers.common import FIELDS, HEADERS, connect_arguments, log

CONNECTION: psycopg.Connection[Any] = psycopg.connect(
    **connect_arguments(), autocommit=True
)
COLUMNS = ", ".join(FIELDS)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    started = time.perf_counter()
    method, path = event["httpMethod"], event["path"]
    user_id = path[len("/users/") :]
    if method == "POST":
        status, content = 201, create(json.loads(event["body"]))
    elif method == "PATCH":
        status, content = 200, change(user_id, json.loads(event["body"]))
    elif user_id:
        sql = f"SELECT {COLUMNS} FROM users_user WHERE id = %s"
        status, content = 200, shown(CONNECTION.execute(sql, [user_id]).fetchone())
    else:
        status, content = 200, page()
    request_id = log(method, "/users", status, started)
    return {
        "statusCode": status,
        "headers": {
            **HEADERS,
            "X-Request-Id": request_id,
            "Content-Type": "application/json",
        },
        "body": json.dumps(content),
    }


def page() -> dict[str, Any]:
    sql = f"SELECT {COLUMNS} FROM users_user ORDER BY created_at DESC, id DESC LIMIT 51"
    rows = CONNECTION.execute(sql).fetchall()
    return {"users": [shown(row) for row in rows[:50]], "count": 50}


def create(body: dict[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC)
    row = (uuid.uuid4(), body["name"], body["email"], now, now)
    sql = f"INSERT INTO users_user ({COLUMNS}) VALUES (%s, %s, %s, %s, %s)"
    CONNECTION.execute(sql, row)
    return shown(row)


def change(user_id: str, body: dict[str, Any]) -> dict[str, Any]:
    sql = f"UPDATE users_user SET name = %s, updated_at = %s WHERE id = %s RETURNING {COLUMNS}"
    row = CONNECTION.execute(sql, [body["name"], datetime.now(UTC), user_id]).fetchone()
    return shown(row)


def shown(row: Any) -> dict[str, Any]:
    key, name, email, created_at, updated_at = row
    return {
        "id": str(key), "name": name, "email": email,
        "created_at": created_at.isoformat(), "updated_at": updated_at.isoformat(),
    }  # fmt: skip
