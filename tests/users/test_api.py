"""The users API as a client sees it."""

import json
import uuid
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from ops.local.sandbox import lifecycle
from tests.wire import relay

pytestmark = pytest.mark.django_db
ADA = {"name": "Ada Lovelace", "email": "Ada@Example.com"}


def send(client: Client, method: str, path: str, body: Any, **extra: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    content_type = extra.pop("content_type", "application/json")
    return client.generic(method, path, data, content_type=content_type, **extra)


def create(client: Client, **changes: str) -> dict[str, Any]:
    answer = send(client, "POST", "/users", {**ADA, **changes})
    assert answer.status_code == 201, answer.content
    return dict(answer.json())


def test_create_answers_the_user_where_it_is_and_who_served(client: Client) -> None:
    answer = send(client, "POST", "/users", {**ADA, "name": "  Ada Lovelace "})
    user = answer.json()
    assert answer.status_code == 201
    assert set(user) == {"id", "name", "email", "created_at", "updated_at", "region"}
    assert (user["name"], user["email"]) == (ADA["name"], ADA["email"])
    assert user["region"] == answer["X-Served-By-Region"] == "us-east-1"
    assert answer["Location"] == f"/users/{user['id']}"
    read = client.get(answer["Location"])
    assert read.json() == {k: v for k, v in user.items() if k != "region"}
    assert read["ETag"] == answer["ETag"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({**ADA, "name": 5}, "/name"), ({**ADA, "email": True}, "/email"),
     ({**ADA, "a/b~c": 1}, "/a~1b~0c"), ({**ADA, "": 1}, "/")],
)  # fmt: skip
def test_a_refused_member_is_pointed_at(
    client: Client, body: Any, pointer: str
) -> None:
    answer = send(client, "POST", "/users", body)
    assert answer.status_code == 400
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_a_member_that_comes_twice_is_refused(client: Client) -> None:
    body = b'{"name": "Ada", "email": "a@example.com", "name": "Eve"}'
    answer = send(client, "POST", "/users", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
    assert "twice" in answer.json()["detail"]


def test_an_id_is_read_in_letters_of_any_case(client: Client) -> None:
    user = create(client)
    assert client.get(f"/users/{user['id'].upper()}").json()["id"] == user["id"]
    assert client.get(f"/users/{user['id'][:-1]}x").status_code == 404


def test_views_without_a_body_answer_405_whatever_is_sent(client: Client) -> None:
    answer = send(client, "POST", "/health", ADA)
    assert (answer.status_code, answer["Allow"]) == (405, "GET, HEAD")


def test_put_replaces_and_patch_changes_a_part(client: Client) -> None:
    user = create(client)
    path = f"/users/{user['id']}"
    changed = send(client, "PATCH", path, {"name": "Ada King"})
    assert changed.status_code == 200
    assert changed.json()["name"] == "Ada King"
    assert changed.json()["email"] == ADA["email"]
    assert changed.json()["updated_at"] > user["updated_at"]
    assert changed.json()["created_at"] == user["created_at"]
    replaced = send(client, "PUT", path, {"name": "Grace", "email": "g@example.com"})
    assert replaced.json()["email"] == "g@example.com"
    assert send(client, "PUT", path, {"name": "Grace"}).status_code == 400
    assert client.get(path).json() == replaced.json()


def test_delete_removes_once(client: Client) -> None:
    path = f"/users/{create(client)['id']}"
    assert client.delete(path).status_code == 204
    assert client.delete(path).status_code == 404
    assert client.get(path).status_code == 404


def test_pages_go_through_all_users_newest_first_and_back(client: Client) -> None:
    names = [create(client, email=f"u{n}@example.com")["email"] for n in range(7)]
    seen, pages, url = [], [], "/users?limit=3"
    while url:
        page = client.get(url).json()
        assert page["count"] == len(page["users"]) <= 3
        pages.append([user["email"] for user in page["users"]])
        seen += pages[-1]
        last, url = page, page["next"]
    assert seen == names[::-1]
    assert [len(page) for page in pages] == [3, 3, 1]
    middle = client.get(last["previous"]).json()
    assert [user["email"] for user in middle["users"]] == pages[1]
    first = client.get(middle["previous"]).json()
    assert [user["email"] for user in first["users"]] == pages[0]
    assert first["previous"] is None


def test_a_deleted_page_edge_does_not_lose_the_place(client: Client) -> None:
    users = [create(client, email=f"u{n}@example.com") for n in range(4)]
    page = client.get("/users?limit=2").json()
    client.delete(f"/users/{page['users'][-1]['id']}")
    rest = client.get(page["next"]).json()
    assert [u["id"] for u in rest["users"]] == [users[1]["id"], users[0]["id"]]


@pytest.mark.django_db(transaction=True)
def test_a_duplicate_email_in_any_case_is_409(client: Client) -> None:
    user = create(client)
    other = create(client, email="other@example.com")
    again = send(client, "POST", "/users", {**ADA, "email": "ADA@example.COM"})
    assert again.status_code == 409
    assert again.json()["code"] == "email_taken"
    assert again.json()["errors"] == [
        {"pointer": "/email", "reason": "Already used by another user."}
    ]
    change = {"email": user["email"].lower()}
    assert send(client, "PATCH", f"/users/{other['id']}", change).status_code == 409
    assert client.get("/users").json()["count"] == 2


BAD_BODIES: list[tuple[str, Any, str]] = [
    ("malformed JSON", b"{", ""),
    ("invalid UTF-8", b'{"name": "\xff", "email": "a@example.com"}', ""),
    ("a lone surrogate", b'{"name": "\\ud800", "email": "a@example.com"}', ""),
    ("not an object", b"[1]", ""),
    ("NaN", b'{"name": NaN, "email": "a@example.com"}', ""),
    ("deep nesting", b"[" * 50_000, ""),
    ("nothing", b"", ""),
    ("a missing field", {"name": "x"}, "/email"),
    ("an unknown field", {**ADA, "admin": True}, "/admin"),
    ("a blank name", {**ADA, "name": "   "}, "/name"),
    ("a long name", {**ADA, "name": "x" * 101}, "/name"),
    ("a number for a name", {**ADA, "name": {"a": 1}}, "/name"),
    ("null", {**ADA, "name": None}, "/name"),
    ("NUL", {**ADA, "name": "a\x00b"}, "/name"),
    ("a bad email", {**ADA, "email": "nobody"}, "/email"),
    ("a long email", {**ADA, "email": "a" * 250 + "@example.com"}, "/email"),
    ("a list for an email", {**ADA, "email": ["a@example.com"]}, "/email"),
]


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    ("body", "pointer"),
    [case[1:] for case in BAD_BODIES],
    ids=[case[0] for case in BAD_BODIES],
)
def test_bad_bodies_are_refused_by_name(
    client: Client, method: str, body: Any, pointer: str
) -> None:
    path = "/users" if method == "POST" else f"/users/{uuid.uuid4()}"
    answer = send(client, method, path, body)
    problem = answer.json()
    assert answer.status_code == problem["status"] == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert problem["detail"]
    if pointer:
        assert pointer in [error["pointer"] for error in problem["errors"]]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=-1", "limit=ten", "limit=", "limit=1e2", "page=2",
     "cursor=", "cursor=abc", "cursor=YWJj.x", "limit=%D9%A1", "cursor=%00", "email=",
     "email=%00", "name_prefix=", "created_from=now", "created_from=2026-11-24",
     "created_from=0001-01-01T00:00:00%2B10:00",
     "created_to=2026-11-24T00:00:00+00:00", "limit=1&limit=2",
     "name_prefix=a&created_to=2026-11-24T00:00:00Z"],
)  # fmt: skip
def test_bad_parameters_are_refused_by_name(client: Client, query: str) -> None:
    answer = client.get(f"/users?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["parameter"] == query.partition("=")[0]


def test_a_tampered_cursor_is_refused(client: Client) -> None:
    for number in range(3):
        create(client, email=f"u{number}@example.com")
    url = client.get("/users?limit=1").json()["next"]
    for at in (-1, -30, len(url) - 5):
        changed = url[:at] + ("A" if url[at] != "A" else "B") + url[at:][1:]
        assert client.get(changed).status_code == 400


def test_wrong_method_type_size_and_path_are_problems(client: Client) -> None:
    wrong = client.delete("/users")
    assert (wrong.status_code, wrong["Allow"]) == (405, "GET, POST, HEAD, OPTIONS")
    form = send(client, "POST", "/users", b"a=1", content_type="text/plain")
    assert (form.status_code, form.json()["status"]) == (415, 415)
    large = send(client, "POST", "/users", b" " * 70_000)
    assert (large.status_code, large.json()["code"]) == (413, "too_large")
    for path in ("/nothing", "/users/", "/users/1", "/users/not-a-uuid", "/users/%00"):
        missing = client.get(path)
        assert missing.status_code == 404, path
        assert missing["Content-Type"] == "application/problem+json"


def test_health_knows_the_database_and_its_schema(client: Client) -> None:
    answer = client.get("/health")
    assert (answer.status_code, answer.json()["schema"]) == (200, "current")
    assert client.get("/health/live").json()["status"] == "ok"


@pytest.mark.django_db(transaction=True)
def test_one_round_trip_each(client: Client, sandbox: lifecycle.Status) -> None:
    connection.close()
    try:
        with relay(sandbox.port) as wire:
            user = create(client)
            path = f"/users/{user['id']}"
            requests: list[tuple[str, str, Any]] = [
                ("GET", path, b""),
                ("GET", "/users", b""),
                ("POST", "/users", {**ADA, "email": "b@example.com"}),
                ("PATCH", path, {"name": "x"}),
                ("GET", "/health", b""),
                ("DELETE", path, b""),
            ]
            counts = {}
            for method, where, body in requests:
                wire.reset()
                assert send(client, method, where, body).status_code < 300
                counts[f"{method} {where.replace(user['id'], 'id')}"] = wire.round_trips
            assert wire.connections == 1
    finally:
        connection.close()
    assert set(counts.values()) == {1}, counts
