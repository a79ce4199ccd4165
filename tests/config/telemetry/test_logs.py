import io
import json
import logging
import time
from collections.abc import Iterator

import pytest
from django.core.exceptions import SuspiciousOperation
from django.test import Client

from config.dsql.deadlines import Allowance
from config.dsql.driver import call_within
from config.telemetry.logs import JSONFormatter, LineFormatter, mask
from config.telemetry.measures import Measures
from config.telemetry.middleware import measured
from tests.failing import fail_statements


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
    assert "Ada" not in mask(text)
    assert "Lovelace" not in mask(text)
    assert "<left out>" in mask(text)
    for kept in ("HINT:  Look.", "The above exception", "duplicate key"):
        assert (kept in mask(text)) == (kept in text)


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
        assert part not in mask(text), mask(text)


def test_masking_takes_no_longer_for_what_is_made_to_take_long() -> None:
    started = time.process_time()
    mask("Not Found: /=@'" + "a" * 100_000)
    mask('@"' + '\\"' * 50_000)
    assert time.process_time() - started < 1


def test_lines_for_a_terminal_are_masked_too() -> None:
    record = logging.LogRecord("a", 20, "f", 1, "Mail to %s", ("a@example.com",), None)
    assert LineFormatter("%(message)s").format(record) == "Mail to <e-mail>"


def test_masking_leaves_other_text_alone() -> None:
    assert mask("GET /users 200 in 1.5 ms") == "GET /users 200 in 1.5 ms"


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
    fail_statements(monkeypatch, error)
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
    with measured(Measures("order-17")):
        call_within(Allowance(30), lambda: logger.warning("Refreshing failed"))
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


def test_a_line_that_utf8_cannot_hold_is_written_all_the_same() -> None:
    record = logging.makeLogRecord({"msg": "half \ud800 a pair", "fields": {"n": 1}})
    line = json.loads(JSONFormatter().format(record))
    assert (line["message"], line["n"]) == ("half \ud800 a pair", 1)
