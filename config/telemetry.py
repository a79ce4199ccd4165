"""What the operator sees of a request: one line with its ids, its time and its metrics.

Nothing here names a person: no path (ids are in it), query, body, address or header.
"""

import json
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse

from config.dsql.signals import conflict_retried, connected
from config.tracing import traced

logger = logging.getLogger(__name__)
# RFC 9110, section 9, and RFC 5789; any other is a text of the client's.
METHODS = {
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
}  # fmt: skip
# Their lines have paths and methods as the client sent them, and come without an id.
FRAMEWORKS = ("django.request", "django.security", "django.server", "waitress")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# W3C Trace Context, section 3.2: version, trace id, parent id, flags. Version ff and ids of
# zeros are invalid, and so are capital letters.
TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
TRACEPARENT_CHARACTERS = 55
# X-Ray developer guide, "Tracing header".
XRAY_ROOT = re.compile(r"(?:^|;)\s*Root=(1-[0-9a-f]{8}-[0-9a-f]{24})")
METRICS = {
    "Requests": "Count", "Latency": "Milliseconds", "ColdStarts": "Count",
    "ConnectTime": "Milliseconds", "ConflictsRetried": "Count", "Failovers": "Count",
}  # fmt: skip
ENCODER = json.JSONEncoder(default=str)  # dumps() would make one for every line
# A word that has an address is left out whole: a pattern of the address itself would be
# tried at every letter of a long word, and read it to its end each time. RFC 5321 lets
# "=" and "&" stand in an address, and anything up to 64 characters in one's quoted part.
WORD = re.compile(r"[^\s\"()<>,;]+")
QUOTED_PART = re.compile(r'"(?:[^"\\]|\\.){0,64}(?=\\?"(?:@|%40))', re.DOTALL)
# Where PostgreSQL puts the offending row or the statement, up to its next field; psycopg
# writes each field on a line of its own, and a quoted value may have several.
QUOTED = re.compile(
    r"(DETAIL:|CONTEXT:|LINE \d+:) .*?(?=\n(?:[A-Z]+: |Traceback |\n)|\Z)", re.DOTALL
)


@dataclass(slots=True)
class Measures:
    """One request's ids and counts; before the first request, the start-up's."""

    request_id: str = ""
    trace_id: str = ""
    xray_id: str = ""
    cold_start: bool = False
    connect_ms: float = 0.0
    conflicts: int = 0
    failovers: int = 0
    started: float = field(default_factory=time.perf_counter)

    @property
    def ids(self) -> dict[str, str]:
        named = {
            "request_id": self.request_id,
            "trace_id": self.trace_id,
            "xray_trace_id": self.xray_id,
        }
        return {name: value for name, value in named.items() if value}


# Lambda serves one request at a time; a development server has one context a thread.
_start_up = Measures(cold_start=True)
_current: ContextVar[Measures] = ContextVar("measures", default=_start_up)


def request_id() -> str:
    """The id of the request being served, or "" outside of one."""
    return _current.get().request_id


class TelemetryMiddleware:
    """Give each request its ids, echo X-Request-Id, and log its line when it is over."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        measures = _begin(request)
        with _measured(measures):
            response = self.get_response(request)
            response["X-Request-Id"] = measures.request_id
            if isinstance(response, StreamingHttpResponse):
                response.streaming_content = Stream(
                    cast(Iterable[bytes], response.streaming_content),
                    measures,
                    partial(_log, request, response.status_code, measures),
                )
            else:
                _log(request, response.status_code, measures)
        return response


@contextmanager
def _measured(measures: Measures) -> Iterator[None]:
    """What happens inside belongs to the request, whose lines have its ids."""
    token = _current.set(measures)
    try:
        with traced():
            yield
    finally:
        _current.reset(token)


class Stream:
    """The body of a streamed response: its request lasts until the server closes it."""

    def __init__(
        self, parts: Iterable[bytes], measures: Measures, log: Callable[..., None]
    ) -> None:
        self._parts, self._measures, self._log = iter(parts), measures, log
        self._whole = self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with _measured(self._measures):
            try:
                return next(self._parts)
            except StopIteration:
                self._whole = True
                raise
            except Exception:
                logger.exception("A streamed response broke off")
                raise

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            with _measured(self._measures):
                self._log(whole=self._whole)


def _begin(request: HttpRequest) -> Measures:
    """New measures; the first request also answers for what start-up spent."""
    measures = Measures(_request_id(request), *_trace_ids(request))
    if _start_up.cold_start:
        measures.cold_start, _start_up.cold_start = True, False
        measures.connect_ms = _start_up.connect_ms
        measures.failovers = _start_up.failovers
    return measures


def _request_id(request: HttpRequest) -> str:
    """The caller's X-Request-Id if it is one, else Lambda's, else a new one."""
    # META: request.headers parses every header of every request.
    sent: str = request.META.get("HTTP_X_REQUEST_ID", "")
    if REQUEST_ID.fullmatch(sent):
        return sent
    invocation = getattr(request.META.get("lambda.context"), "aws_request_id", None)
    return str(invocation or uuid.uuid4())


def _trace_ids(request: HttpRequest) -> tuple[str, str]:
    """The W3C trace id and the X-Ray one; "" for what was not sent or is malformed."""
    # Lambda's own variable names the segment in which this invocation runs.
    header = os.environ.get("_X_AMZN_TRACE_ID") or request.META.get(
        "HTTP_X_AMZN_TRACE_ID", ""
    )
    root = XRAY_ROOT.search(header)
    w3c = _w3c_trace_id(request.META.get("HTTP_TRACEPARENT", ""))
    return w3c, root[1] if root else ""


def _w3c_trace_id(text: str) -> str:
    """A later version may go on behind a dash: section 3.2.4, "Versioning"."""
    parent = TRACEPARENT.fullmatch(text[:TRACEPARENT_CHARACTERS])
    rest = text[TRACEPARENT_CHARACTERS:]
    if parent is None or (rest and (parent[1] == "00" or rest[0] != "-")):
        return ""
    return parent[2]


def _log(
    request: HttpRequest, status: int, measures: Measures, *, whole: bool = True
) -> None:
    match = request.resolver_match
    latency = (time.perf_counter() - measures.started) * 1000
    method = request.method if request.method in METHODS else "other"
    fields: dict[str, Any] = {
        "Region": os.environ.get("AWS_REGION", ""),
        "Route": f"/{match.route}" if match else "unmatched",
        "method": method,
        "status": status,
        "Requests": 1,
        "Latency": round(latency, 2),
        "ColdStarts": int(measures.cold_start),
        "ConnectTime": round(measures.connect_ms, 2),
        "ConflictsRetried": measures.conflicts,
        "Failovers": measures.failovers,
    }
    if not whole and request.method != "HEAD":
        fields["whole"] = False  # the response ended before its end
    if settings.METRICS_NAMESPACE:
        fields["_aws"] = _emf(settings.METRICS_NAMESPACE, fields)
    logger.info("%s %s %s", method, fields["Route"], status, extra={"fields": fields})


def _emf(namespace: str, fields: dict[str, Any]) -> dict[str, Any]:
    """CloudWatch user guide, "Specification: Embedded metric format".

    A connection's time counts only for the requests that opened one.
    """
    metrics = [
        {"Name": name, "Unit": unit}
        for name, unit in METRICS.items()
        if name != "ConnectTime" or fields[name]
    ]
    return {
        "Timestamp": int(time.time() * 1000),
        "CloudWatchMetrics": [
            {
                "Namespace": namespace,
                "Dimensions": [["Region"], ["Region", "Route"]],
                "Metrics": metrics,
            }
        ],
    }


def _on_connected(*, seconds: float, at_peer: bool, **_: Any) -> None:
    measures = _current.get()
    measures.connect_ms += seconds * 1000
    measures.failovers += at_peer


def _on_conflict(**_: Any) -> None:
    _current.get().conflicts += 1


connected.connect(_on_connected)
conflict_retried.connect(_on_conflict)


class FrameworkLines(logging.Filter):
    """Of what frameworks say of a request, its error is new; the rest has its line above.

    A handler's filter: a logger's own would not see its children's records.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(FRAMEWORKS):
            return True
        if not record.exc_info:
            return record.name.startswith("waitress")  # of the server, not of a request
        record.msg, record.args = "The request failed", ()
        return True


class LineFormatter(logging.Formatter):
    """A line for people at a terminal, without people in it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging names it
        request = request_id()
        return super().formatMessage(record) + (f" [{request}]" if request else "")

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


class JSONFormatter(logging.Formatter):
    """One JSON object a line, with the ids of the request it belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _utc(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": masked(record.getMessage()),
            **_current.get().ids,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = masked(self.formatException(record.exc_info))
        return ENCODER.encode(line)


def _utc(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def masked(text: str) -> str:
    """The text without e-mail addresses and without the rows PostgreSQL quotes."""
    if "DETAIL" in text or "CONTEXT" in text or "LINE " in text:
        text = QUOTED.sub(r"\1 <left out>", text)
    if "@" not in text and "%40" not in text:
        return text
    return WORD.sub(_masked_word, QUOTED_PART.sub('"', text))


def _masked_word(word: re.Match[str]) -> str:
    return "<e-mail>" if "@" in word[0] or "%40" in word[0] else word[0]  # %40 in a URL
