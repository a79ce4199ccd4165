"""Many rows at once: NDJSON, one JSON object a line, in and out."""

import json
import logging
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Protocol, cast

from django.db import Error
from django.http import StreamingHttpResponse
from rest_framework.request import Request

from config.api import bulk_import
from config.api.pagination import Cursor, Page, page_url
from config.api.parsers import NDJSONParser
from config.api.problems import Problem, problem_body, problem_from_database_error
from config.api.responses import encode

logger = logging.getLogger(__name__)
MAX_IMPORT_LINES = 10_000
# API Gateway sends four bytes for three, and Lambda takes 6 MB.
MAX_IMPORT_BYTES = 4_400_000
# Of all lines: beside them the results of 10,000 lines take 1 MB of Lambda's 6.
ERROR_BYTES = 4_500_000
MAX_EXPORT = 20_000  # rows; Lambda responds with at most 6 MB
# So much is begun, and a page comes on top.
EXPORT_BYTES, EXPORT_ROWS = 5_000_000, 250


class ReadPage(Protocol):
    def __call__(self, *, limit: int, cursor: Cursor | None) -> Page: ...


def encode_lines(values: Iterable[Any]) -> Iterator[bytes]:
    for value in values:
        yield encode(value) + b"\n"


def encoded_size(values: Iterable[Any]) -> int:
    """Bytes of these in Lambda's response, where text is written as a JSON string."""
    return sum(len(json.dumps(encode(value).decode())) for value in values)


def _stream(values: Iterable[Any]) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        encode_lines(values), content_type=NDJSONParser.media_type
    )


def import_response(
    request: Request, importer: bulk_import.Importer
) -> StreamingHttpResponse:
    """A result for each line of the body, then their summary. Raises Problem."""
    lines = cast(list[bytes], request.data)
    count = sum(1 for line in lines if line.strip())
    if not count:
        raise Problem("malformed", "Send at least one line.")
    if count > MAX_IMPORT_LINES:
        raise Problem("too_large", f"Send at most {MAX_IMPORT_LINES} lines at once.")
    results = importer(lines, seconds=bulk_import.IMPORT_SECONDS)
    # Read before the status is sent: a database that stores nothing makes it 503.
    first = next(results)
    return _stream(fit_errors(chain([first], results)))


def fit_errors(results: Iterable[bulk_import.Result]) -> Iterator[bulk_import.Result]:
    """The same results; errors that do not fit into the response are left out."""
    left = ERROR_BYTES
    for result in results:
        left -= encoded_size(result.get("errors", ()))
        if left < 0 and "errors" in result:
            yield {**result, "errors": []}
        else:
            yield result


def read_pages(
    read: ReadPage, *, limit: int, cursor: Cursor | None = None
) -> Iterator[Page]:
    """Pages of ``limit`` rows in all; at least one, and the last knows what follows.

    The first is read at once, so that its failure can still have a status of its own.
    """
    page = read(limit=min(limit, EXPORT_ROWS), cursor=cursor)

    def pages(page: Page, left: int) -> Iterator[Page]:
        while True:
            yield page
            left -= len(page.rows)
            if not (page.next and left):
                return
            page = read(limit=min(left, EXPORT_ROWS), cursor=page.next)

    return pages(page, limit)


def export_response(request: Request, pages: Iterator[Page]) -> StreamingHttpResponse:
    """The rows; the last line says that the response is whole, and where to continue."""

    def lines() -> Iterator[dict[str, Any]]:
        following, size = None, 0
        try:
            for page in pages:
                yield from page.rows
                following = page_url(request, page.next)
                size += encoded_size(page.rows)
                if size > EXPORT_BYTES:
                    break
        except Error as error:  # the status is sent already
            logger.warning("An export ended early: %s", error)
            problem = problem_from_database_error(error)
            yield {"error": problem_body(problem), "next": following}
        else:
            yield {"next": following}

    return _stream(lines())
