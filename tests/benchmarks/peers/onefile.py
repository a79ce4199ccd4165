"""The least that can serve: one file, psycopg and json."""

import hashlib
import hmac
import json
import os
import time
from typing import Any
from urllib.parse import quote

import psycopg

FIELDS = ("id", "name", "email", "created_at", "updated_at")


def token(host: str) -> str:
    region = host.split(".")[2]
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{moment[:8]}/{region}/dsql/aws4_request"
    values = {
        "Action": "DbConnectAdmin",
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": "900",
        "X-Amz-SignedHeaders": "host",
    }
    query = "&".join(
        f"{name}={quote(value, safe='')}" for name, value in values.items()
    )
    empty = hashlib.sha256(b"").hexdigest()
    request = f"GET\n/\n{query}\nhost:{host}\n\nhost\n{empty}"
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{os.environ['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in (*scope.split("/"), f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{digest}"):
        key = hmac.digest(key, part.encode(), "sha256")
    return f"{host}/?{query}&X-Amz-Signature={key.hex()}"


def connect() -> psycopg.Connection:
    host = os.environ["DSQL_ENDPOINT"]
    return psycopg.connect(
        host=host,
        dbname="postgres",
        user="admin",
        password=token(host),
        sslmode="verify-full",
        autocommit=True,
    )


CONNECTION = connect()


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    path = event["path"]
    if path == "/health":
        CONNECTION.execute("SELECT 1")
        return answer({"status": "ok"})
    columns = ", ".join(FIELDS)
    row = CONNECTION.execute(
        f"SELECT {columns} FROM users_user WHERE id = %s", [path.rpartition("/")[2]]
    ).fetchone()
    assert row is not None
    return answer(dict(zip(FIELDS, row, strict=True)))


def answer(body: dict[str, Any]) -> dict[str, Any]:
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(body, default=str),
    }
