"""PostgreSQL's wire protocol 3.0: bytes to messages and back. No I/O."""

import struct
from collections.abc import Iterator

# DSQL ends the connection without a word above this size.
MAX_MESSAGE = 10 * 1024 * 1024
MAX_STARTUP = 64 * 1024  # a token of temporary credentials has a few KiB
TEXT_OID = 25
CONNECTION_FAILURE = "08006"  # the SQLSTATE of a cluster that refuses a login
KEEP = "surrogateescape"  # bytes that are no UTF-8 come out as they went in


class OversizedMessageError(Exception):
    """A message longer than DSQL takes."""


class MalformedMessageError(Exception):
    """A text in a message has no end."""


class Framer:
    """Cuts a byte stream into messages of (type, whole message)."""

    def __init__(self, limit: int = 1 << 30) -> None:
        self._buffer = b""
        self._limit = limit

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        buffer = self._buffer + data if self._buffer else data
        at, size = 0, len(buffer)
        while size - at >= 5:
            length = int.from_bytes(buffer[at + 1 : at + 5], "big")
            if not 4 <= length <= self._limit:
                raise OversizedMessageError
            end = at + 1 + length
            if end > size:
                break
            yield buffer[at], buffer[at:end]
            at = end
        self._buffer = buffer[at:]


def message(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + (len(payload) + 4).to_bytes(4, "big") + payload


def cstrings(*texts: str) -> bytes:
    return b"".join(text.encode(errors=KEEP) + b"\0" for text in texts)


def cstring(payload: bytes, at: int = 0) -> tuple[str, int]:
    """The text at ``at`` and where the next field begins. Raises MalformedMessageError."""
    end = payload.find(0, at)
    if end < 0:
        raise MalformedMessageError
    return payload[at:end].decode(errors=KEEP), end + 1


def startup_parameters(payload: bytes) -> dict[str, str]:
    parts = payload.split(b"\0")
    texts = [part.decode(errors="replace") for part in parts]
    return {k: v for k, v in zip(texts[::2], texts[1::2], strict=False) if k}


def startup(parameters: dict[str, str]) -> bytes:
    pairs = b"".join(cstrings(name, value) for name, value in parameters.items())
    payload = struct.pack("!i", 196608) + pairs + b"\0"
    return (len(payload) + 4).to_bytes(4, "big") + payload


def query(sql: str) -> bytes:
    return message(b"Q", cstrings(sql))


def error(
    sqlstate: str,
    text: str,
    *,
    severity: str = "ERROR",
    detail: str = "",
    hint: str = "",
) -> bytes:
    fields = [("S", severity), ("V", severity), ("C", sqlstate), ("M", text)]
    fields += [(code, value) for code, value in (("D", detail), ("H", hint)) if value]
    payload = b"".join(code.encode() + cstrings(value) for code, value in fields)
    return message(b"E", payload + b"\0")


def fatal(text: str, *, sqlstate: str = CONNECTION_FAILURE, hint: str = "") -> bytes:
    """How a login is refused."""
    return error(sqlstate, text, severity="FATAL", hint=hint)


def error_fields(frame: bytes) -> dict[str, str]:
    fields, at = {}, 5
    while frame[at]:
        text, following = cstring(frame, at + 1)
        fields[chr(frame[at])] = text
        at = following
    return fields


def sqlstate(frame: bytes) -> str:
    return error_fields(frame)["C"]


def ready(status: str) -> bytes:
    return message(b"Z", status.encode())


def complete(tag: str) -> bytes:
    return message(b"C", cstrings(tag))


def text_column(name: str) -> bytes:
    column = cstrings(name) + struct.pack("!ihihih", 0, 0, TEXT_OID, -1, -1, 0)
    return message(b"T", struct.pack("!h", 1) + column)


def text_row(value: str) -> bytes:
    encoded = value.encode(errors=KEEP)
    return message(b"D", struct.pack("!hi", 1, len(encoded)) + encoded)


def row_values(frame: bytes) -> list[str]:
    """The texts of a DataRow; NULL is an empty text."""
    values, at = [], 7
    for _ in range(int.from_bytes(frame[5:7], "big")):
        length = int.from_bytes(frame[at : at + 4], "big", signed=True)
        at += 4
        values.append(frame[at : at + max(length, 0)].decode(errors=KEEP))
        at += max(length, 0)
    return values
