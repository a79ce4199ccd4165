"""What the peers without an ORM share: their SQL, and cursors that any of them reads."""

import base64
import re
import uuid
from datetime import datetime
from typing import Any

FIELDS = ("id", "name", "email", "created_at", "updated_at")
COLUMNS = ", ".join(FIELDS)
ONE = f"SELECT {COLUMNS} FROM users_user WHERE id = %s"
FIRST_PAGE = (
    f"SELECT {COLUMNS} FROM users_user ORDER BY created_at DESC, id DESC LIMIT %s"
)
NEXT_PAGE = (
    f"SELECT {COLUMNS} FROM users_user WHERE (created_at, id) < (%s, %s) "
    "ORDER BY created_at DESC, id DESC LIMIT %s"
)
CREATE = f"INSERT INTO users_user ({COLUMNS}) VALUES (%s, %s, %s, %s, %s)"
CHANGE = (
    "UPDATE users_user SET name = %s, updated_at = %s WHERE id = %s "
    f"RETURNING {COLUMNS}"
)
EMAIL = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
is_email = re.compile(EMAIL).match


def encode_cursor(created_at: Any, user_id: Any) -> str:
    return base64.urlsafe_b64encode(f"{created_at} {user_id}".encode()).decode()


def decode_cursor(cursor: str) -> tuple[datetime, uuid.UUID]:
    created_at, _, user_id = base64.urlsafe_b64decode(cursor).decode().rpartition(" ")
    return datetime.fromisoformat(created_at), uuid.UUID(user_id)


def build_next(users: list[Any], limit: int) -> str:
    """The address of the page behind these users, each a mapping."""
    last = users[-1]
    cursor = encode_cursor(last["created_at"], last["id"])
    return f"/users?limit={limit}&cursor={cursor}"
