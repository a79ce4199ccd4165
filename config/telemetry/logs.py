"""Log lines that name no person: no path (ids are in it), query, body, address or header."""

import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from config.telemetry.measures import current, request_id

# Their lines have paths and methods as the client sent them, and come without an id.
FRAMEWORKS = ("django.request", "django.security", "django.server", "waitress")
encode = msgspec.json.Encoder(enc_hook=str).encode
# A word that has an address is left out as a whole: a pattern for the address itself would
# be tried at every letter of a long word, and scan to its end each time. RFC 5321 lets
# "=" and "&" stand in an address, and anything up to 64 characters in one's quoted part.
WORD = re.compile(r"[^\s\"()<>,;]+")
QUOTED_PART = re.compile(r'"(?:[^"\\]|\\.){0,64}(?=\\?"(?:@|%40))', re.DOTALL)
# Where PostgreSQL puts the offending row or the statement, up to its next field; psycopg
# writes each field on a line of its own, and a quoted value may have several.
QUOTED = re.compile(
    r"(DETAIL:|CONTEXT:|LINE \d+:) .*?(?=\n(?:[A-Z]+: |Traceback |\n)|\Z)", re.DOTALL
)


class FrameworkLines(logging.Filter):
    """Keep only the errors of what frameworks log about a request, without its path.

    The request's own line has the rest. Attach it to a handler: the filter of a logger
    does not see the records of its children.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(FRAMEWORKS):
            return True
        if not record.exc_info:
            return record.name.startswith("waitress")  # about the server, not a request
        record.msg, record.args = "The request failed", ()
        return True


class LineFormatter(logging.Formatter):
    """A line for a terminal, with e-mail addresses and row values masked."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging names it
        request = request_id()
        return super().formatMessage(record) + (f" [{request}]" if request else "")

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))


class JSONFormatter(logging.Formatter):
    """One JSON object per line, with the ids of the request it belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _utc(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": mask(record.getMessage()),
            **current.get().ids,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = mask(self.formatException(record.exc_info))
        try:
            return encode(line).decode()
        except (
            UnicodeEncodeError
        ):  # half of a surrogate pair, which UTF-8 does not have
            return json.dumps(line, default=str)


def _utc(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def mask(text: str) -> str:
    """The text without e-mail addresses and without the rows PostgreSQL quotes."""
    if "DETAIL" in text or "CONTEXT" in text or "LINE " in text:
        text = QUOTED.sub(r"\1 <left out>", text)
    if "@" not in text and "%40" not in text:
        return text
    return WORD.sub(_mask_word, QUOTED_PART.sub('"', text))


def _mask_word(word: re.Match[str]) -> str:
    return "<e-mail>" if "@" in word[0] or "%40" in word[0] else word[0]  # %40 in a URL
