"""Users that the connections' tests create and count."""

import json
import uuid
from typing import Any

from django.test import Client

from users.models import User


def new_user() -> User:
    return User(name="Ada", email=f"{uuid.uuid4()}@example.com")


def count() -> int:
    return User.objects.count()


def create(client: Client, key: str = "") -> Any:
    body = {"name": "Ada", "email": f"{uuid.uuid4()}@example.com"}
    headers = {"idempotency-key": key} if key else {}
    return client.post(
        "/users", json.dumps(body), content_type="application/json", headers=headers
    )
