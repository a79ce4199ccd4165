import io
import itertools
import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import SuspiciousOperation
from django.core.signals import request_finished
from django.db import close_old_connections
from django.http import HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory

from config import telemetry
from config.dsql.deadlines import Allowance
from config.dsql.driver import answer_within
from config.dsql.signals import conflict_retried, connected
from config.telemetry import JSONFormatter, LineFormatter, TelemetryMiddleware, masked

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FACTORY = RequestFactory()


def serve(
    caplog: pytest.LogCaptureFixture, view: Any, **headers: str
) -> dict[str, Any]:
    """The log line of one request, as it is written."""
    with caplog.at_level(logging.INFO, logger="config.telemetry"):
        TelemetryMiddleware(view)(FACTORY.get("/users", headers=headers))
    record = caplog.records[-1]
    return record.__dict__["fields"]


def ok(request: Any) -> HttpResponse:
    return HttpResponse()


@pytest.fixture(autouse=True)
def warm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(telemetry._start_up, "cold_start", False)
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
        seen.update(telemetry._current.get().ids)
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
    assert telemetry._trace_ids(request)[0] == ""


@pytest.mark.parametrize(
    "parent",
    [f"00-{TRACE}-{PARENT}-00", f"00-{TRACE}-{PARENT}-ff", f"01-{TRACE}-{PARENT}-01",
     f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be", f"fe-{TRACE}-{PARENT}-01-"],
)  # fmt: skip
def test_a_later_version_of_traceparent_is_read_as_far_as_it_is_known(
    parent: str,
) -> None:
    request = FACTORY.get("/", headers={"traceparent": parent})
    assert telemetry._trace_ids(request)[0] == TRACE


def streamed(request: Any) -> StreamingHttpResponse:
    def parts() -> Iterator[bytes]:
        connected.send(sender=None, host="peer", seconds=0.25, at_peer=True)
        yield telemetry.request_id().encode()
        logging.getLogger("config.telemetry").warning("half-way")
        conflict_retried.send(sender=None, attempt=1)
        yield telemetry.request_id().encode()

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
        assert telemetry.request_id() == ""
        assert b"".join(response) == b"order-17" * 2
        assert telemetry.request_id() == ""
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
    monkeypatch.setattr(telemetry, "time", clock)
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

    monkeypatch.setattr(telemetry, "traced", traced)
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
    start = telemetry.Measures(cold_start=True)
    monkeypatch.setattr(telemetry, "_start_up", start)
    start.connect_ms = 12.5
    first, second = serve(caplog, ok), serve(caplog, ok)
    assert (first["ColdStarts"], first["ConnectTime"]) == (1, 12.5)
    assert (second["ColdStarts"], second["ConnectTime"]) == (0, 0.0)


def test_metrics_are_embedded_under_the_namespace(
    caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    assert "_aws" not in serve(caplog, ok)
    settings.METRICS_NAMESPACE = "multi-region-app"
    found = serve(caplog, ok)
    (directive,) = found["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "multi-region-app"
    assert directive["Dimensions"] == [["Region"], ["Region", "Route"]]
    for metric in directive["Metrics"]:
        assert isinstance(found[metric["Name"]], int | float)


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


def test_a_line_is_one_json_object_without_people_in_it() -> None:
    error = ValueError(
        "duplicate key\nDETAIL:  Key (lower(email))=(ada@example.com) already exists.\nend"
    )
    record = logging.LogRecord(
        "config.api", logging.ERROR, "f", 1, "Mail to %s failed", ("ada@example.com",),
        (ValueError, error, None),
    )  # fmt: skip
    text = JSONFormatter().format(record)
    line = json.loads(text)
    assert "\n" not in text
    assert "example.com" not in text
    assert line["level"] == "ERROR"
    assert line["message"] == "Mail to <e-mail> failed"
    assert "DETAIL: <left out>" in line["exception"]


@pytest.mark.parametrize(
    "text",
    [
        "syntax error\nLINE 1: INSERT INTO t VALUES ('Ada Lovelace'\n        ^",
        "duplicate key\nDETAIL:  Key (name)=(Ada\nLovelace) already exists.\nHINT:  Look.",
        repr(ValueError("duplicate key\nDETAIL:  Key (name)=(Ada) exists.")),
        "bad row\nCONTEXT:  COPY t, line 1: Ada\n\nThe above exception",
    ],
)
def test_what_postgresql_quotes_is_left_out(text: str) -> None:
    assert "Ada" not in masked(text)
    assert "Lovelace" not in masked(text)
    assert "<left out>" in masked(text)
    for kept in ("HINT:  Look.", "The above exception", "duplicate key"):
        assert (kept in masked(text)) == (kept in text)


@pytest.mark.parametrize(
    "text",
    ["o'brien@example.com", "ada@example.com,bob@example.com", "to <ada@example.com>",
     "GET /users?email=ada%40example.com&limit=1", "'ada@example.com'",
     "ada@example.com/bob@example.com", "'ada@example.com'bob@example.com'",
     'to "ada \\"bob\\" o, brien"@example.com', r'{"to": "\"ada bob\"@example.com"}',
     "ada&bob@example.com", "mail=ada=bob@example.com", '"ada <bob>"%40example.com'],
)  # fmt: skip
def test_addresses_are_masked_whole(text: str) -> None:
    for part in ("example", "ada", "bob", "brien"):
        assert part not in masked(text), masked(text)


def test_masking_takes_no_longer_for_what_is_made_to_take_long() -> None:
    started = time.process_time()
    masked("Not Found: /=@'" + "a" * 100_000)
    masked('@"' + '\\"' * 50_000)
    assert time.process_time() - started < 1


def test_lines_for_a_terminal_are_masked_too() -> None:
    record = logging.LogRecord("a", 20, "f", 1, "Mail to %s", ("a@example.com",), None)
    assert LineFormatter("%(message)s").format(record) == "Mail to <e-mail>"


def test_masking_leaves_other_text_alone() -> None:
    assert masked("GET /users 200 in 1.5 ms") == "GET /users 200 in 1.5 ms"


ID = "6f1c0a3e-3f7e-4d57-9a53-0f3d8a3a1b11"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the configured handler writes, all loggers together."""
    handlers = logging.getLogger().handlers
    (console,) = [each for each in handlers if type(each) is logging.StreamHandler]
    found = io.StringIO()
    before = console.setStream(found)
    yield found
    console.setStream(before)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", f"/users/{ID}", 404), ("DELETE", f"/users/{ID}", 404), ("GET", f"/x/{ID}", 404),
     ("PATCH", f"/users/{ID}", 400), ("PURGE", f"/users/{ID}?name=Ada", 405),
     ("POST", f"/health?{ID}", 405), ("GET", f"/users?email={ID}", 200),
     ("A\nFAKE LINE", f"/users/{ID}", 405)],
)  # fmt: skip
def test_a_request_is_one_line_with_its_id_and_without_what_it_asked(
    written: io.StringIO, method: str, path: str, status: int
) -> None:
    answer = Client().generic(method, path, b"{}", content_type="application/json")
    assert answer.status_code == status
    (line,) = written.getvalue().splitlines()
    assert line.endswith(f" {status} [{answer['X-Request-Id']}]")
    for private in (ID, "Ada", "PURGE", "FAKE"):
        assert private not in line


@pytest.mark.django_db
@pytest.mark.parametrize("error", [ValueError("a bug"), SuspiciousOperation("odd")])
def test_an_error_nothing_handles_is_told_with_its_id_and_without_its_path(
    written: io.StringIO, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("users.selectors.run_statement", broken)
    client = Client(raise_request_exception=False)
    answer = client.get(f"/users/{ID}")
    assert answer.status_code == (500 if isinstance(error, ValueError) else 400)
    text = written.getvalue()
    assert ID not in text
    told = [line for line in text.splitlines() if answer["X-Request-Id"] in line]
    assert len(told) == 2
    assert "Traceback" in text
    assert str(error) in text


def test_lines_of_the_thread_that_a_request_waits_for_have_its_id(
    written: io.StringIO,
) -> None:
    """botocore warns there when credentials cannot be refreshed."""
    logger = logging.getLogger("botocore.credentials")
    with telemetry._measured(telemetry.Measures("order-17")):
        answer_within(Allowance(30), lambda: logger.warning("Refreshing failed"))
    assert (
        written.getvalue()
        == "WARNING botocore.credentials Refreshing failed [order-17]\n"
    )


@pytest.mark.parametrize("name", ["django.server", "django.security.X", "waitress"])
def test_a_servers_line_about_a_request_does_not_name_it(
    written: io.StringIO, name: str
) -> None:
    if name != "waitress":  # whose other lines are about the server
        logging.getLogger(name).error('"GET /users/%s HTTP/1.1" 500 -', ID)
    error = ValueError("broken")
    logging.getLogger(name).error("Serving /users/%s", ID, exc_info=error)
    assert ID not in written.getvalue()
    assert "The request failed" in written.getvalue()
