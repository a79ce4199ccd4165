"""Whatever a client sends, to judge it takes time that grows no faster than its length.

Each parser is given the same hostile text at two lengths. The ratio of this thread's time is
taken within one run, best of a few: a machine's speed and its other work fall out of it.
"""

import gc
import io
import itertools
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.http import QueryDict
from django.test import RequestFactory
from django.urls import resolve
from rest_framework.request import Request as DRFRequest

from config import env
from config.api import (
    access,
    bulk_import,
    hosts,
    idempotency,
    inputs,
    pages,
    parameters,
    rate_limits,
    resources,
    timestamps,
)
from config.api.conditions import parse_conditions
from config.api.parsers import (
    ByContentType,
    NDJSONParser,
    StrictJSONParser,
    load_object,
)
from config.on_lambda.events import split_path
from config.telemetry import logs, middleware, tracing
from config.wsgi import Request, application
from users import emails, filters, names, serializers, views

SHORT, LONG = 16_000, 64_000
MOST = 6.0  # four times the text, and what memory costs besides
ROUNDS = (2, 5, 20, 60)  # more are only tried where the best of fewer is too much
FACTORY: Any = RequestFactory()
UNITS = ["x", "1", " ", "\t", ".", "-", "@", "a@", ",", ";", ":", "=", "/", "&", "+", "%",
         "%2", "%40", '"', "\\", '\\"', "[", "{", "(", "\n", "\r\n", "*", "W/", '"a",', '" ',
         "a.", "-a", "a b", "DETAIL: ", "LINE 1", "\nA", "é", "\u200d", "\u0301", "é\u200d",
         "\u3164", "Root=", "; ", "a=b;", '";', "T", "0:"]  # fmt: skip
ENDS = ["", "\x01", '"', "@x", " \u202e"]


def meta(**values: str) -> dict[str, Any]:
    """As a WSGI server hands text over."""
    latin = {
        k: v.encode("utf-8", "replace").decode("latin-1") for k, v in values.items()
    }
    return dict(FACTORY._base_environ(**latin))


def request(**values: str) -> Any:
    return Request(meta(**values))


def drf(**values: str) -> Any:
    asked: Any = DRFRequest(request(**values))
    asked._full_data = {}
    return asked


def body(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def served(**values: str) -> None:
    """Through everything that a request meets before a view reads its body."""
    asked = meta(**values) | {
        "wsgi.input": io.BytesIO(b"{}"),
        "HTTP_HOST": "testserver",
    }
    b"".join(application(asked, lambda *_: None))


def event(text: str) -> dict[str, Any]:
    return {"path": "/" + text, "requestContext": {"path": f"/prod/{text}"},
            "resource": "/{proxy+}", "pathParameters": {"proxy": text}}  # fmt: skip


def headers(name: str) -> Callable[[str], Any]:
    return lambda text: served(**{f"HTTP_{name}": text, "PATH_INFO": "/nothing"})


PARSERS: dict[str, Callable[[str], Any]] = {
    "body: a serializer": lambda text: serializers.validate_user(
        {"name": text, "email": text, text: text}
    ),
    "body: a patch": lambda text: serializers.validate_user({"email": text}, partial=True),
    "body: a JSON parser": lambda text: StrictJSONParser().parse(
        io.BytesIO(body(text)), None, {"request": request(CONTENT_LENGTH="1")}
    ),
    "name": names.find_fault,
    "name: in the serializer": lambda text: serializers.validate_user({"name": text}),
    "e-mail": emails.find_fault,
    "e-mail: a domain": lambda text: emails.find_fault("a@" + text),
    "e-mail: a local part": lambda text: emails.find_fault(text + "@example.com"),
    "e-mail: quoted": lambda text: emails.find_fault(f'"{text}"@example.com'),
    "e-mail: a literal": lambda text: emails.find_fault(f"a@[{text}]"),
    "import: a line": lambda text: serializers.validate_user(
        bulk_import.parse_line(body(text))
    ),
    "import: lines": lambda text: list(
        NDJSONParser().parse(
            io.BytesIO(body(text)), None, {"request": request(CONTENT_LENGTH="1")}
        )
    ),
    **{f"parameter {name}": parse for name, parse in views.UsersExport.query["GET"].items()},
    "moment: a fraction": lambda text: timestamps.parse(f"2026-11-24T09:30:00.{text}Z"),
    "moment": timestamps.parse,
    "query": lambda text: parameters.check_names(
        request(QUERY_STRING=text), views.Users.query["GET"]
    ),
    "query: values": lambda text: filters.build_filters(
        parameters.parse(QueryDict(f"email={text[:8000]}"), {"email": str})
    ),
    "If-Match": lambda text: parse_conditions(request(HTTP_IF_MATCH=text)),
    "If-Match: after a tag": lambda text: parse_conditions(request(HTTP_IF_MATCH='"a" ' + text)),
    "If-None-Match": lambda text: parse_conditions(request(HTTP_IF_NONE_MATCH=text)),
    "a version's tag": lambda text: list(resources._moments(frozenset({text}))),
    "a version's tag of digits": lambda text: list(resources._moments(frozenset({"1" + text}))),
    "Idempotency-Key": lambda text: idempotency.parse_attempt(
        drf(HTTP_IDEMPOTENCY_KEY=text)
    ),
    "Authorization": lambda text: access.Bearer().authenticate(drf(HTTP_AUTHORIZATION=text)),
    "access token": lambda text: access.Bearer().authenticate(
        drf(HTTP_AUTHORIZATION="Bearer " + text)
    ),
    "Host": lambda text: hosts.is_allowed(meta(HTTP_HOST=text)),
    "Host: a port": lambda text: hosts.is_allowed(meta(HTTP_HOST="testserver:" + text)),
    "Host: IPv6": lambda text: hosts.is_allowed(meta(HTTP_HOST="[" + text)),
    "Content-Type": lambda text: ByContentType().select_parser(
        drf(CONTENT_TYPE=text), views.UserDetail.parser_classes
    ),
    "Content-Type: parameters": lambda text: ByContentType().select_parser(
        drf(CONTENT_TYPE="application/json;" + text), views.UserDetail.parser_classes
    ),
    "Content-Type: before any view": lambda text: served(
        CONTENT_TYPE='application/json; charset="' + text, PATH_INFO="/nothing"
    ),
    "Content-Length": lambda text: inputs.check_body(
        request(CONTENT_LENGTH=text), views.Users
    ),
    "Content-Length: digits": lambda text: inputs.check_body(
        request(CONTENT_LENGTH="1" + text), views.Users
    ),
    "Accept": lambda text: pages._prefers_html(request(HTTP_ACCEPT=text)),
    "Accept: parameters": lambda text: pages._prefers_html(
        request(HTTP_ACCEPT="text/html;" + text)
    ),
    "path": resolve,
    "path: a user": lambda text: resolve("/users/" + text),
    "path: before any view": lambda text: served(PATH_INFO="/" + text),
    "path on Lambda": lambda text: split_path(event(text)),
    "Origin": headers("ORIGIN"),
    "X-Request-Id": lambda text: middleware.choose_request_id(meta(HTTP_X_REQUEST_ID=text)),
    "traceparent": lambda text: middleware.parse_trace_ids(meta(HTTP_TRACEPARENT=text)),
    "traceparent: a later version": lambda text: middleware.parse_trace_ids(
        meta(HTTP_TRACEPARENT=f"01-{'a' * 32}-{'b' * 16}-01-{text}")
    ),
    "X-Amzn-Trace-Id": lambda text: middleware.parse_trace_ids(
        meta(HTTP_X_AMZN_TRACE_ID=text)
    ),
    "X-Ray's variable": tracing.SAMPLED.search,
    "a log line": logs.mask,
    "a log line: an address": lambda text: logs.mask("ada@" + text),
    "a log line: a row": lambda text: logs.mask("DETAIL: " + text),
    "a log line: rows": lambda text: logs.mask(text + "DETAIL: CONTEXT: LINE 1: "),
    "the rate's caller": lambda text: rate_limits.Buckets().take(text, 1),
    "environment: words": lambda text: env.words("X", env={"X": text}),
    "environment: a flag": lambda text: env.flag("X", env={"X": text}),
    "environment: a number": lambda text: env.whole("X", 0, env={"X": text}),
    "environment: some of": lambda text: env.some_of("X", ("a",), [], env={"X": text}),
}  # fmt: skip


BODIES: dict[str, Callable[[str], bytes]] = {
    "body": body,
    "body: quoted": lambda text: b'{"name": "' + body(text),
    "body: a value": lambda text: b'{"name": ' + body(text),
    "body: escaped": lambda text: json.dumps({"name": text, text: text}).encode(),
    "body: with a surrogate": lambda text: (
        b'{"": "\\ud800", "name": "' + body(text) + b'"}'
    ),
}
CASES: dict[str, tuple[Callable[[str], Any], Callable[[Any], Any]]] = {
    **{name: (build, load_object) for name, build in BODIES.items()},
    **{name: (str, parse) for name, parse in PARSERS.items()},
}


@pytest.fixture(autouse=True)
def quiet(settings: Any) -> Iterator[None]:
    """No log lines and no collector in the measured time; tokens are asked for."""
    settings.API_AUTH = "oidc"
    logging.disable(logging.CRITICAL)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)


def seconds(parse: Callable[[Any], Any], sent: Any) -> float:
    started = time.thread_time_ns()
    with suppress(Exception):
        parse(sent)
    return (time.thread_time_ns() - started) / 1e9


# Less than that for the long text is nobody's attack; the square of it takes 100 times as long.
FLOOR_SECONDS = 0.001


def ratio(parse: Callable[[Any], Any], short: Any, long: Any, rounds: int) -> float:
    first, second = (
        min(seconds(parse, sent) for _ in range(rounds)) for sent in (short, long)
    )
    return second / first


@pytest.mark.parametrize("case", CASES)
def test_time_grows_no_faster_than_the_text(case: str) -> None:
    build, parse = CASES[case]
    for unit, end in itertools.product(UNITS, ENDS):
        short, long = (
            build(unit * (length // len(unit)) + end) for length in (SHORT, LONG)
        )
        if seconds(parse, long) < FLOOR_SECONDS:
            continue
        found = MOST + 1
        for rounds in ROUNDS:
            if found > MOST:
                found = ratio(parse, short, long, rounds)
        assert found <= MOST, f"{found:.1f} times for {unit!r}, {end!r}"


def test_a_quadratic_parser_would_be_found() -> None:
    quadratic = re.compile("x*y").search
    assert ratio(quadratic, "x" * 1000, "x" * 4000, 5) > MOST
