"""HEAD: what GET says, without what only its body needs."""

import logging
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.users.test_api import create
from users import selectors

pytestmark = pytest.mark.django_db
PATHS = ["/", "/health", "/health/live", "/openapi.json", "/problems", "/users",
         "/users?limit=1", "/users/export", "/users/export?limit=2", "/nothing", "/users/x",
         "/users?colour=blue", "/users/export?limit=0", "/users/export?cursor=x",
         "/users/import"]  # fmt: skip


def both(path: str, **headers: Any) -> tuple[Any, Any]:
    client = Client(headers={"X-Request-Id": "same"})
    get: Any = client.get(path, **headers)
    head = client.head(path, **headers)
    if get.streaming:
        b"".join(get.streaming_content)
    return get, head


@pytest.mark.parametrize("path", PATHS)
def test_head_has_the_status_and_the_headers_of_get(path: str) -> None:
    for number in range(3):
        create(Client(), email=f"u{number}@example.com")
    get, head = both(path)
    assert head.status_code == get.status_code
    assert dict(head.headers) == dict(get.headers)
    assert b"".join(head) == b""


def test_head_of_a_user_has_its_tag_and_its_conditions() -> None:
    path = f"/users/{create(Client())['id']}"
    get, head = both(path)
    assert head["ETag"] == get["ETag"]
    for header, status in (("HTTP_IF_NONE_MATCH", 304), ("HTTP_IF_MATCH", 200)):
        get, head = both(path, **{header: get["ETag"]})
        assert (head.status_code, dict(head.headers)) == (status, dict(get.headers))
    assert both(path, HTTP_IF_MATCH='"x"')[1].status_code == 412


def test_head_of_an_export_reads_one_page_of_one_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(5):
        create(Client(), email=f"u{number}@example.com")
    limits: list[int] = []
    user_list = selectors.user_list

    def counted(*, limit: int, **others: Any) -> Any:
        limits.append(limit)
        return user_list(limit=limit, **others)

    monkeypatch.setattr(selectors, "user_list", counted)
    with CaptureQueriesContext(connection) as queries:
        response = Client().head("/users/export")
        assert b"".join(response) == b""
        response.close()
    assert (limits, len(queries)) == ([1], 1)


def test_head_of_an_export_without_a_database_is_503_as_get(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(**_: Any) -> None:
        raise OperationalError("connection lost")

    monkeypatch.setattr(selectors, "user_list", failing)
    get, head = both("/users/export")
    assert head.status_code == get.status_code == 503
    assert dict(head.headers) == dict(get.headers)


def test_head_of_a_stream_has_its_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="config.telemetry"):
        response = Client().head("/users/export")
        b"".join(response)
        response.close()
    (line,) = [r.__dict__["fields"] for r in caplog.records if "fields" in r.__dict__]
    assert (line["method"], line["status"]) == ("HEAD", 200)
    assert "whole" not in line
