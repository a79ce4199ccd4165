"""Teaches schemathesis, which loads this file, to send NDJSON."""

import json
from typing import Any

import schemathesis

from users import names


@schemathesis.serializer("application/x-ndjson")
def ndjson(context: Any, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode(errors="replace")


@schemathesis.hook
def filter_body(context: Any, body: Any) -> bool:
    """Leave out names that the contract's sentence refuses and its pattern cannot."""
    name = body.get("name") if isinstance(body, dict) else None
    return not (
        isinstance(name, str) and (not name.strip() or names.find_fault(name.strip()))
    )
