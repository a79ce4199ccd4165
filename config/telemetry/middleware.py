"""One log line for each request: its ids, its time and its metrics."""

import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

from django.conf import settings
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)

from config.telemetry import metrics
from config.telemetry.measures import Measures, current, start_up
from config.telemetry.tracing import traced

logger = logging.getLogger(__package__)
# RFC 9110, section 9, and RFC 5789; any other text comes from the client.
METHODS = {
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
}  # fmt: skip
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# W3C Trace Context, section 3.2: version, trace id, parent id, flags. Version ff and ids of
# zeros are invalid, and so are capital letters.
TRACEPARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
TRACEPARENT_CHARACTERS = 55
# X-Ray developer guide, "Tracing header".
XRAY_ROOT = re.compile(r"(?:^|;)\s*Root=(1-[0-9a-f]{8}-[0-9a-f]{24})")
# In the WSGI environment of a request whose line the middleware writes: its measures.
MEASURES = "telemetry.measures"
UNMATCHED = "unmatched"


class TelemetryMiddleware:
    """Give each request its ids, echo X-Request-Id, and log one line when it ends."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        measures = begin_measures(request.META)
        request.META[MEASURES] = measures
        with measured(measures):
            response = self.get_response(request)
            response["X-Request-Id"] = measures.request_id
            match = request.resolver_match
            log = partial(
                log_request,
                request.method,
                f"/{match.route}" if match else UNMATCHED,
                response.status_code,
                measures,
            )
            if isinstance(response, StreamingHttpResponse):
                response.streaming_content = Stream(
                    cast(Iterable[bytes], response.streaming_content), measures, log
                )
            else:
                log()
        return response


@contextmanager
def measured(measures: Measures) -> Iterator[None]:
    """Count what happens inside for this request, and give its log lines the ids."""
    token = current.set(measures)
    try:
        with traced():
            yield
    finally:
        current.reset(token)


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
        with measured(self._measures):
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
            with measured(self._measures):
                self._log(whole=self._whole)


def measure_outside(
    meta: Mapping[str, Any], respond: Callable[[], HttpResponse]
) -> HttpResponse:
    """Respond to a request outside of the middleware, with the same id and the same line.

    A request that has passed through the middleware has its line already.
    """
    known: Measures | None = meta.get(MEASURES)
    measures = known or begin_measures(meta)
    with measured(measures):
        response = respond()
        response["X-Request-Id"] = measures.request_id
        if known is None:
            method = meta.get("REQUEST_METHOD")
            log_request(method, UNMATCHED, response.status_code, measures)
    return response


def begin_measures(meta: Mapping[str, Any]) -> Measures:
    """New measures; those of the first request include what start-up spent.

    ``meta`` is the request's WSGI environment.
    """
    measures = Measures(choose_request_id(meta), *parse_trace_ids(meta))
    if start_up.cold_start:
        measures.cold_start, start_up.cold_start = True, False
        measures.connect_ms = start_up.connect_ms
        measures.failovers = start_up.failovers
    return measures


def choose_request_id(meta: Mapping[str, Any]) -> str:
    """The caller's X-Request-Id if it is one, else Lambda's, else a new one."""
    sent: str = meta.get("HTTP_X_REQUEST_ID", "")
    if REQUEST_ID.fullmatch(sent):
        return sent
    invocation = getattr(meta.get("lambda.context"), "aws_request_id", None)
    return str(invocation or uuid.uuid4())


def parse_trace_ids(meta: Mapping[str, Any]) -> tuple[str, str]:
    """The W3C trace id and the X-Ray one; "" for what was not sent or is malformed."""
    # Lambda's own variable names the segment in which this invocation runs.
    header = os.environ.get("_X_AMZN_TRACE_ID") or meta.get("HTTP_X_AMZN_TRACE_ID", "")
    root = XRAY_ROOT.search(header)
    w3c = _parse_traceparent(meta.get("HTTP_TRACEPARENT", ""))
    return w3c, root[1] if root else ""


def _parse_traceparent(text: str) -> str:
    """The trace id; later versions may append fields: section 3.2.4, "Versioning"."""
    parent = TRACEPARENT.fullmatch(text[:TRACEPARENT_CHARACTERS])
    rest = text[TRACEPARENT_CHARACTERS:]
    if parent is None or (rest and (parent[1] == "00" or rest[0] != "-")):
        return ""
    return parent[2]


def log_request(
    method: Any,
    route: str,
    status: int,
    measures: Measures,
    *,
    whole: bool = True,
) -> None:
    latency = (time.perf_counter() - measures.started) * 1000
    # An event that is refused has anything there.
    named = method if isinstance(method, str) and method in METHODS else "other"
    fields: dict[str, Any] = {
        metrics.REGION: os.environ.get("AWS_REGION", ""),
        metrics.ROUTE: route,
        "method": named,
        "status": status,
        metrics.REQUESTS: 1,
        metrics.LATENCY: round(latency, 2),
        metrics.COLD_STARTS: int(measures.cold_start),
        metrics.CONNECT_TIME: round(measures.connect_ms, 2),
        metrics.CONFLICTS_RETRIED: measures.conflicts,
        metrics.FAILOVERS: measures.failovers,
    }
    if not whole and method != "HEAD":
        fields["whole"] = False  # the response ended before its end
    if settings.METRICS_NAMESPACE:
        fields["_aws"] = metrics.embedded_metrics(settings.METRICS_NAMESPACE, fields)
    logger.info("%s %s %s", named, route, status, extra={"fields": fields})
