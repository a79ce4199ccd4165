"""The least that can serve: one file, botocore's signer, psycopg and json."""

import json
import os
from typing import Any

import psycopg
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

FIELDS = ("id", "name", "email", "created_at", "updated_at")


def token(host: str) -> str:
    credentials = Credentials(
        os.environ["AWS_ACCESS_KEY_ID"],
        os.environ["AWS_SECRET_ACCESS_KEY"],
        os.environ.get("AWS_SESSION_TOKEN"),
    )
    request = AWSRequest("GET", f"https://{host}/", params={"Action": "DbConnectAdmin"})
    SigV4QueryAuth(credentials, "dsql", host.split(".")[2], expires=900).add_auth(
        request
    )
    return str(request.url).removeprefix("https://")


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
