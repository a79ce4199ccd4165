"""The second resource through the whole stack; run by test_resource_project.py."""

import json
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client

from config.api import access
from config.api.callers import Caller
from ops import contract
from ops.local.sandbox.lifecycle import Status
from tests.resource_project.notes.models import Note
from tests.wire import relay

pytestmark = pytest.mark.django_db
JSON = "application/json"
PATCH = "application/merge-patch+json"


def post(client: Client, title: str = "Milk", **headers: str) -> Any:
    body = json.dumps({"title": title, "text": "Two litres"})
    return client.post("/notes", body, content_type=JSON, headers=headers)


def patch(client: Client, path: str, title: str, **headers: str) -> Any:
    body = json.dumps({"title": title})
    return client.patch(path, body, content_type=PATCH, headers=headers)


def test_a_note_is_created_read_changed_and_deleted(client: Client) -> None:
    created = post(client)
    assert created.status_code == 201
    path = created["Location"]
    assert path == f"/notes/{created.json()['id']}"
    read = client.get(path)
    assert read.json() | {"region": "us-east-1"} == created.json()
    assert read["ETag"] == created["ETag"]
    changed = patch(client, path, "Bread")
    assert (changed.status_code, changed.json()["title"]) == (200, "Bread")
    assert changed.json()["text"] == "Two litres"
    assert client.delete(path).status_code == 204
    gone = client.get(path)
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")


def test_its_list_has_pages_and_filters(client: Client) -> None:
    for number in range(5):
        post(client, f"note {number}")
    first = client.get("/notes?limit=2").json()
    second = client.get(first["next"]).json()
    titles = [note["title"] for note in first["notes"] + second["notes"]]
    assert titles == ["note 0", "note 1", "note 2", "note 3"]
    assert client.get(second["previous"]).json()["notes"] == first["notes"]
    found = client.get("/notes?title=note 4").json()
    assert [note["title"] for note in found["notes"]] == ["note 4"]
    refused = client.get("/notes?size=2")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_parameter")


def test_a_cursor_of_one_resource_is_none_of_another(client: Client) -> None:
    for number in range(2):
        post(client, f"note {number}")
    following = client.get("/notes?limit=1").json()["next"]
    refused = client.get(following.replace("/notes", "/users"))
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_parameter")


@pytest.mark.django_db(transaction=True)
def test_its_own_problem_is_sent_and_published(client: Client) -> None:
    path = post(client)["Location"]
    other = post(client, "Bread")["Location"]
    for refused in (post(client), patch(client, other, "Milk")):
        assert (refused.status_code, refused.json()["code"]) == (409, "title_taken")
        assert refused.json()["type"] == "/problems#title-taken"
    assert patch(client, path, "Milk").status_code == 200
    assert b'id="title-taken"' in client.get("/problems").content


def test_a_change_is_made_to_the_named_version_only(client: Client) -> None:
    created = post(client)
    path, tag = created["Location"], created["ETag"]
    unchanged = client.get(path, headers={"If-None-Match": tag})
    assert unchanged.status_code == 304
    same = patch(client, path, "Milk", **{"If-Match": tag})
    assert (same.status_code, same["ETag"]) == (200, tag)
    changed = patch(client, path, "Bread", **{"If-Match": tag})
    assert changed.status_code == 200
    for refused in (
        patch(client, path, "Eggs", **{"If-Match": tag}),
        client.delete(path, headers={"If-Match": tag}),
    ):
        assert refused.json()["code"] == "precondition_failed"
    deleted = client.delete(path, headers={"If-Match": changed["ETag"]})
    assert deleted.status_code == 204


def test_a_deployment_can_make_if_match_mandatory(
    client: Client, settings: Any
) -> None:
    settings.REQUIRE_IF_MATCH = True
    path = post(client)["Location"]
    for refused in (patch(client, path, "Bread"), client.delete(path)):
        assert refused.json()["code"] == "precondition_required"


@pytest.mark.django_db(transaction=True)
def test_a_keyed_request_is_done_once_and_its_response_goes_with_the_note(
    client: Client,
) -> None:
    key = {"Idempotency-Key": "k1"}
    first, second = post(client, **key), post(client, **key)
    assert first.content == second.content
    assert second["Idempotency-Replayed"] == "true"
    assert Note.objects.count() == 1
    assert post(client, "Bread", **key).json()["code"] == "idempotency_key_reused"
    client.delete(first["Location"])
    assert post(client, **key).json()["code"] == "gone"


@pytest.mark.django_db(transaction=True)
def test_every_write_is_one_round_trip(client: Client, sandbox: Status) -> None:
    connection.close()
    counts = []
    try:
        with relay(sandbox.port) as wire:
            path = post(client)["Location"]
            for send in (
                lambda: post(client, "Bread"),
                lambda: post(client, "Eggs", **{"Idempotency-Key": "k1"}),
                lambda: patch(client, path, "Butter"),
                lambda: client.get(path),
                lambda: client.delete(path),
            ):
                wire.reset()
                assert send().status_code < 400
                counts.append(wire.round_trips)
    finally:
        connection.close()
    assert counts == [1] * 5


def test_its_scopes_are_required(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {"notes:read", "notes:write", "users:read"} <= access.SCOPES.keys()
    reader = Caller("reader", frozenset({"notes:read"}))
    monkeypatch.setattr(access.Bearer, "authenticate", lambda *_: (reader, None))
    assert client.get("/notes").status_code == 200
    refused = post(client)
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert 'scope="notes:write"' in refused["WWW-Authenticate"]
    assert client.get("/users").status_code == 403


def test_the_index_and_the_contract_name_it(client: Client) -> None:
    links = client.get("/").json()["links"]
    assert list(links)[:2] == ["users", "notes"]
    assert (
        b'<a href="/notes">Notes</a>'
        in client.get("/", HTTP_ACCEPT="text/html").content
    )
    document = contract.document()
    assert document["paths"]["/notes/{note_id}"]["patch"]["security"] == [
        {"bearer": ["notes:write"]}
    ]
    schemas = document["components"]["schemas"]
    assert "title_taken" in schemas["Problem"]["properties"]["code"]["enum"]
    bearer = document["components"]["securitySchemes"]["bearer"]
    assert "notes:read: Read notes." in bearer["description"]
    assert {"User", "Note"} <= schemas.keys()


def test_its_migrations_are_what_its_models_say() -> None:
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
