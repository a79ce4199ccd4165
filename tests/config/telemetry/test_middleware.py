import itertools
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.signals import request_finished
from django.db import close_old_connections
from django.http import HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory

from config.dsql.signals import conflict_retried, connected
from config.telemetry import middleware
from config.telemetry.logs import JSONFormatter
from config.telemetry.measures import Measures, current, request_id, start_up
from config.telemetry.middleware import TelemetryMiddleware

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FACTORY = RequestFactory()


def serve(
    caplog: pytest.LogCaptureFixture, view: Any, **headers: str
) -> dict[str, Any]:
    """The log line of one request, as it is written."""
    with caplog.at_level(logging.INFO, logger="config.telemetry"):
        TelemetryMiddleware(view)(FACTORY.get("/users", headers=headers))
    record = caplog.records[-1]
    fields: dict[str, Any] = record.__dict__["fields"]
    return fields


def ok(request: Any) -> HttpResponse:
    return HttpResponse()


@pytest.fixture(autouse=True)
def warm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(start_up, "cold_start", False)
    # As Django's test client: the database is none of these tests' business.
    request_finished.disconnect(close_old_connections)
    yield
    request_finished.connect(close_old_connections)


def test_a_callers_request_id_is_echoed_and_logged(client: Client) -> None:
    answer = client.get("/health/live", headers={"X-Request-Id": "order-17.a"})
    assert answer["X-Request-Id"] == "order-17.a"


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, 'a"b'])
def test_an_id_that_is_none_is_replaced(client: Client, sent: str) -> None:
    answer = client.get("/health/live", headers={"X-Request-Id": sent})
    assert answer["X-Request-Id"] not in {"", sent}


def test_lambdas_own_id_names_the_request_where_the_caller_gave_none() -> None:
    context = type("Context", (), {"aws_request_id": "lambda-id"})()
    request = FACTORY.get("/", **{"lambda.context": context})
    assert TelemetryMiddleware(ok)(request)["X-Request-Id"] == "lambda-id"


def test_both_trace_headers_are_read(caplog: pytest.LogCaptureFixture) -> None:
    seen: dict[str, str] = {}

    def view(request: Any) -> HttpResponse:
        seen.update(current.get().ids)
        return HttpResponse()

    serve(
        caplog,
        view,
        traceparent=f"00-{TRACE}-00f067aa0ba902b7-01",
        **{"X-Amzn-Trace-Id": "Self=1-a;Root=1-67891233-abcdef012345678912345678"},
    )
    assert seen["trace_id"] == TRACE
    assert seen["xray_trace_id"] == "1-67891233-abcdef012345678912345678"


PARENT = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "parent",
    ["", "junk", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01",
     f"00-{TRACE.upper()}-{PARENT}-01", f"00-{TRACE}-{PARENT.upper()}-01",
     f"ff-{TRACE}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01-x", f"FF-{TRACE}-{PARENT}-01",
     f"00-{TRACE}-{PARENT}-01-", f"00-{TRACE}-{PARENT}-01-x", f"00-{TRACE}-{PARENT}-01x",
     f"01-{TRACE}-{PARENT}-01x", f"01-{TRACE}-{PARENT}-01.x", f"00-{TRACE}-{PARENT}-1",
     f"00-{TRACE}-{PARENT}-0g", f"00-{TRACE[1:]}-{PARENT}-01", f"0-{TRACE}-{PARENT}-01",
     f"00-{TRACE}-{PARENT}-01, 00-{TRACE}-{PARENT}-01", f"00_{TRACE}_{PARENT}_01",
     f"00-{TRACE}-{PARENT}-01\n"],
)  # fmt: skip
def test_a_malformed_traceparent_is_not_logged(parent: str) -> None:
    request = FACTORY.get("/", headers={"traceparent": parent})
    assert middleware.parse_trace_ids(request.META)[0] == ""


@pytest.mark.parametrize(
    "parent",
    [f"00-{TRACE}-{PARENT}-00", f"00-{TRACE}-{PARENT}-ff", f"01-{TRACE}-{PARENT}-01",
     f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be", f"fe-{TRACE}-{PARENT}-01-"],
)  # fmt: skip
def test_a_later_version_of_traceparent_is_read_as_far_as_it_is_known(
    parent: str,
) -> None:
    request = FACTORY.get("/", headers={"traceparent": parent})
    assert middleware.parse_trace_ids(request.META)[0] == TRACE


def streamed(request: Any) -> StreamingHttpResponse:
    def parts() -> Iterator[bytes]:
        connected.send(sender=None, host="peer", seconds=0.25, at_peer=True)
        yield request_id().encode()
        logging.getLogger("config.telemetry").warning("half-way")
        conflict_retried.send(sender=None, attempt=1)
        yield request_id().encode()

    return StreamingHttpResponse(parts())


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [r.__dict__["fields"] for r in caplog.records if "fields" in r.__dict__]


def test_a_streamed_response_is_measured_until_it_is_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    request = FACTORY.get("/users", headers={"X-Request-Id": "order-17"})
    with caplog.at_level(logging.INFO, logger="config.telemetry"):
        response = TelemetryMiddleware(streamed)(request)
        assert lines(caplog) == []
        assert request_id() == ""
        assert b"".join(response) == b"order-17" * 2
        assert request_id() == ""
        assert lines(caplog) == []
        response.close()
        response.close()
    (line,) = lines(caplog)
    assert (line["ConnectTime"], line["Failovers"]) == (250.0, 1)
    assert line["ConflictsRetried"] == 1
    assert "whole" not in line


def test_the_time_of_a_stream_is_in_its_latency(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = [0.0]
    clock = SimpleNamespace(
        perf_counter=lambda: time.perf_counter() + passed[0], time=time.time
    )
    monkeypatch.setattr(middleware, "time", clock)
    with caplog.at_level(logging.INFO, logger="config.telemetry"):
        response = TelemetryMiddleware(streamed)(FACTORY.get("/users"))
        passed[0] = 100.0
        response.close()
    assert lines(caplog)[0]["Latency"] > 100_000


def test_every_line_of_a_stream_has_its_requests_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[dict[str, Any]] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(  # type: ignore[method-assign] # a stub
        json.loads(JSONFormatter().format(record))
    )
    logger = logging.getLogger("config.telemetry")
    logger.addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, logger="config.telemetry"):
            request = FACTORY.get("/users", headers={"X-Request-Id": "order-17"})
            response = TelemetryMiddleware(streamed)(request)
            list(response)
            response.close()
    finally:
        logger.removeHandler(handler)
    assert [line["request_id"] for line in seen] == ["order-17"] * 2


def test_a_stream_that_is_not_read_to_its_end_is_not_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def endless(request: Any) -> StreamingHttpResponse:
        return StreamingHttpResponse(itertools.repeat(b"one"))

    def failing(request: Any) -> StreamingHttpResponse:
        def parts() -> Iterator[bytes]:
            yield b"one"
            raise RuntimeError("half-way")

        return StreamingHttpResponse(parts())

    with caplog.at_level(logging.INFO, logger="config.telemetry"):
        cut = TelemetryMiddleware(endless)(FACTORY.get("/users"))
        next(iter(cut))
        cut.close()
        failed = TelemetryMiddleware(failing)(FACTORY.get("/users"))
        with pytest.raises(RuntimeError, match="half-way"):
            list(failed)
        failed.close()
    assert [line["whole"] for line in lines(caplog)] == [False, False]
    assert "A streamed response broke off" in caplog.text


def test_statements_of_a_stream_are_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    depths: list[int] = []

    @contextmanager
    def traced() -> Iterator[None]:
        depths.append(1)
        try:
            yield
        finally:
            depths.pop()

    def view(request: Any) -> StreamingHttpResponse:
        return StreamingHttpResponse(str(len(depths)).encode() for _ in range(2))

    monkeypatch.setattr(middleware, "traced", traced)
    response = TelemetryMiddleware(view)(FACTORY.get("/users"))
    assert depths == []
    assert b"".join(response) == b"11"
    response.close()
    assert depths == []


def test_connections_and_conflicts_count_for_the_request_they_happened_in(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def view(request: Any) -> HttpResponse:
        connected.send(sender=None, host="peer", seconds=0.25, at_peer=True)
        conflict_retried.send(sender=None, attempt=1)
        conflict_retried.send(sender=None, attempt=2)
        return HttpResponse()

    found = serve(caplog, view)
    assert found["ConnectTime"] == 250.0
    assert (found["ConflictsRetried"], found["Failovers"]) == (2, 1)
    assert serve(caplog, ok)["ConflictsRetried"] == 0


def test_the_first_request_answers_for_the_cold_start(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Measures(cold_start=True)
    monkeypatch.setattr(middleware, "start_up", start)
    start.connect_ms = 12.5
    first, second = serve(caplog, ok), serve(caplog, ok)
    assert (first["ColdStarts"], first["ConnectTime"]) == (1, 12.5)
    assert (second["ColdStarts"], second["ConnectTime"]) == (0, 0.0)


def test_the_route_is_the_pattern_without_the_ids(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="config.telemetry"):
        client.get("/health/live?token=abc")
        client.get("/nothing/ada@example.com")
    routes = [
        r.__dict__["fields"]["Route"] for r in caplog.records if "fields" in r.__dict__
    ]
    assert routes == ["/health/live", "unmatched"]
