"""How a body is read: by its Content-Type, strictly, and as a whole."""

import codecs
import json
import re
from typing import IO, Any

from django.http import UnreadablePostError
from rest_framework import exceptions
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

MAX_BODY_BYTES = 64 * 1024  # of one object
MAX_CONTENT_TYPE = 255
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def load_object(content: bytes, *, what: str = "body") -> dict[str, Any]:
    """A JSON object; what PostgreSQL or JSON cannot hold is refused. Raises ParseError."""
    try:
        # Some editors begin a file with a byte order mark (RFC 8259, section 8.1).
        text = codecs.decode(content, "utf-8-sig")
        data = DECODER.decode(text)
        if SURROGATE.search(text):  # a lone one can only be written so
            json.dumps(data, ensure_ascii=False).encode()
    except UnicodeError:
        raise exceptions.ParseError(f"The {what} is not valid UTF-8.") from None
    except RecursionError:
        raise exceptions.ParseError(f"The {what} is nested too deeply.") from None
    except ValueError:
        raise exceptions.ParseError(f"The {what} is not valid JSON.") from None
    if not isinstance(data, dict):
        raise exceptions.ParseError(f"The {what} must be a JSON object.")
    return data


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Which of two equal names is meant, readers decide differently (RFC 8259, section 4)."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise exceptions.ParseError("An object has a member twice.")
    return found


# json.loads() would make one for every body, which takes as long as to read it.
DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_distinct)


def read_body(stream: IO[bytes], context: Any) -> bytes:
    """All that Content-Length announces. Raises ParseError when less comes."""
    announced = int(context["request"].META["CONTENT_LENGTH"])
    try:
        content = stream.read()
    except UnreadablePostError:
        content = b""
    if len(content) < announced:
        raise exceptions.ParseError(
            f"Content-Length announces {announced} bytes; fewer came."
        )
    return content


class StrictJSONParser(BaseParser):
    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: Any = None, parser_context: Any = None
    ) -> dict[str, Any]:
        return load_object(read_body(stream, parser_context))


class NDJSONParser(BaseParser):
    """One JSON object a line; each line is judged later, and blank ones are skipped."""

    media_type = "application/x-ndjson"

    def parse(
        self, stream: IO[Any], media_type: Any = None, parser_context: Any = None
    ) -> Any:
        return read_body(stream, parser_context).split(b"\n")


class MergePatchParser(StrictJSONParser):
    """RFC 7396; only PATCH means it."""

    media_type = "application/merge-patch+json"
    methods = ("PATCH",)


class ByContentType(BaseContentNegotiation):
    """The parser is the body's; responses are JSON whatever the Accept header says."""

    def select_parser(self, request: Request, parsers: Any) -> BaseParser | None:
        content_type = request.content_type or ""
        if len(content_type) > MAX_CONTENT_TYPE:
            raise exceptions.UnsupportedMediaType(
                "", detail=f"Content-Type is longer than {MAX_CONTENT_TYPE} characters."
            )
        media_type, _, rest = content_type.partition(";")
        offered = media_type.strip().lower()
        if rest and not _is_utf8(rest):
            raise exceptions.UnsupportedMediaType(
                media_type, detail="The charset is not honoured: send UTF-8."
            )
        for parser in parsers:
            methods = getattr(parser, "methods", (request.method,))
            if parser.media_type == offered and request.method in methods:
                return parser  # type: ignore[no-any-return]  # parsers is Any
        return None


def _is_utf8(parameters: str) -> bool:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        named = value.strip().strip('"').lower()
        if name.strip().lower() == "charset" and named not in {"utf-8", "us-ascii"}:
            return False
    return True
