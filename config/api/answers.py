"""JSON answers: one way to write values, and one to send them."""

import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.http import HttpResponse

JSON = "application/json"


def render(content: Any) -> bytes:
    """JSON in UTF-8; moments as RFC 3339 writes them in UTC."""
    text = json.dumps(
        content, default=_plain, ensure_ascii=False, separators=(",", ":")
    )
    return text.encode()


def answer(
    content: Any,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    media_type: str = JSON,
) -> HttpResponse:
    return HttpResponse(
        render(content),
        status=status,
        headers=dict(headers or {}),
        content_type=media_type,
    )


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        text = value.isoformat()
        return text[:-6] + "Z" if text.endswith("+00:00") else text
    if isinstance(value, uuid.UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not written as JSON here")
