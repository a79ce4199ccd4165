"""NDJSON export."""

from typing import Any

import pytest
from django.db import (
    OperationalError,
)
from django.test import Client

from config.api import bulk_import, ndjson
from ops import contract
from tests.users.test_api import create, send
from tests.users.test_import import lines, load
from users import selectors

pytestmark = pytest.mark.django_db
NDJSON = "application/x-ndjson"


def test_an_export_has_everyone_and_says_that_it_is_whole(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_import, "BATCH_ROWS", 2)
    users = [create(client, email=f"u{n}@example.com") for n in range(5)]
    every = lines(client.get("/users/export"))
    assert every.pop() == {"next": None}
    assert [row["id"] for row in every] == [user["id"] for user in users[::-1]]
    assert every[0] == client.get(f"/users/{users[4]['id']}").json()
    first = lines(client.get("/users/export?limit=3"))
    rest = lines(client.get(first.pop()["next"]))
    assert rest.pop() == {"next": None}
    assert first + rest == every
    found = lines(client.get("/users/export?email=u3@example.com"))
    assert [row.get("email") for row in found] == ["u3@example.com", None]


def test_an_export_that_cannot_begin_is_a_problem(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(**_: Any) -> None:
        raise OperationalError("connection lost")

    monkeypatch.setattr(selectors, "user_list", failing)
    assert client.get("/users/export").status_code == 503
    monkeypatch.undo()
    assert client.get("/users/export?limit=20001").status_code == 400


def test_an_export_stops_before_lambdas_limit_and_says_where_to_go_on(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ndjson, "EXPORT_ROWS", 2)
    monkeypatch.setattr(ndjson, "EXPORT_BYTES", 500)
    users = [create(client, email=f"u{n}@example.com")["id"] for n in range(7)]
    seen, url = [], "/users/export"
    while url:
        *rows, last = lines(client.get(url))
        assert 1 <= len(rows) <= 4
        seen += [row["id"] for row in rows]
        url = last["next"]
    assert seen == users[::-1]


def test_an_export_that_fails_on_the_way_says_so_in_its_last_line_and_in_the_log(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ndjson, "EXPORT_ROWS", 2)
    for n in range(3):
        create(client, email=f"u{n}@example.com")
    answer = client.get("/users/export")
    monkeypatch.setattr(selectors, "user_list", broken)
    *rows, last = lines(answer)
    assert len(rows) == 2
    assert last["error"]["code"] == "database_unavailable"
    assert "connection lost" in caplog.text
    monkeypatch.undo()
    assert len(lines(client.get(last["next"]))) == 2


def broken(**_: Any) -> None:
    raise OperationalError("connection lost")


def test_what_was_exported_is_imported_without_what_the_contract_names(
    client: Client,
) -> None:
    """And what GET returned is PUT back so."""
    for name in ("Ada", "Grace", "Jos\u00e9 \U0001f600"):
        create(client, name=name, email=f"{len(name)}@example.com")
    *exported, last = lines(client.get("/users/export"))
    assert last == {"next": None}
    paths = contract.document()["paths"]
    summaries = [
        paths["/users/import"]["post"]["summary"],
        paths["/users/{user_id}"]["put"]["summary"],
    ]
    read_only = "id, created_at, updated_at"
    assert all(read_only in summary for summary in summaries)
    assert "the last line" in summaries[0]
    for row in [*exported, last]:
        assert load(client, row)[0]["status"] == "invalid"
    path = f"/users/{exported[0]['id']}"
    assert send(client, "PUT", path, client.get(path).json()).status_code == 400

    rows = [{k: v for k, v in row.items() if k not in read_only} for row in exported]
    assert [r["status"] for r in load(client, *rows)[:-1]] == ["exists"] * 3
    assert send(client, "PUT", path, rows[0]).status_code == 200
    for row in exported:
        client.delete(f"/users/{row['id']}")
    assert [r["status"] for r in load(client, *rows)[:-1]] == ["created"] * 3
    names = {user["name"] for user in client.get("/users").json()["users"]}
    assert names == {row["name"] for row in exported}
