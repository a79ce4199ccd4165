"""Filters, orders and links of the user list."""

import re
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from tests.users.test_api import create
from users import openapi
from users.models import User

pytestmark = pytest.mark.django_db


def walk(client: Client, url: str) -> list[dict[str, Any]]:
    """Every user of the list, by following the Link header."""
    users: list[dict[str, Any]] = []
    while url:
        answer = client.get(url)
        assert answer.status_code == 200, answer.content
        users += answer.json()["users"]
        found = re.search(r'<([^>]*)>; rel="next"', answer.get("Link", ""))
        assert (found[1] if found else None) == answer.json()["next"]
        url = found[1] if found else ""
    return users


def names(users: list[dict[str, Any]]) -> list[str]:
    return [user["name"] for user in users]


def test_before_a_row_that_became_the_first_the_list_begins(client: Client) -> None:
    users = [create(client, email=f"u{n}@example.com") for n in range(4)]
    second = client.get(client.get("/users?limit=2").json()["next"]).json()
    for user in users[2:]:
        client.delete(f"/users/{user['id']}")
    found = client.get(second["previous"]).json()
    assert [row["id"] for row in found["users"]] == [users[1]["id"], users[0]["id"]]


@pytest.mark.parametrize("query", ["", "&name_prefix=ada"])
def test_behind_the_last_row_a_way_leads_back(client: Client, query: str) -> None:
    for number in range(3):
        create(client, email=f"u{number}@example.com")
    first = client.get(f"/users?limit=2{query}").json()
    gone = client.get(first["next"]).json()["users"]
    client.delete(f"/users/{gone[0]['id']}")
    answer = client.get(first["next"])
    assert (answer.json()["users"], answer.json()["next"]) == ([], None)
    assert 'rel="prev"' in answer["Link"]
    back = client.get(answer.json()["previous"]).json()
    assert (back["users"], back["previous"]) == (first["users"], None)


def test_an_email_is_found_in_any_case(client: Client) -> None:
    create(client, email="other@example.com")
    user = create(client, email="Ada+x@Example.com")
    found = client.get(f"/users?email={quote('aDA+x@example.COM')}").json()
    assert [row["id"] for row in found["users"]] == [user["id"]]
    assert client.get("/users?email=nobody@example.com").json()["count"] == 0


def test_a_prefix_is_literal_without_case_and_in_order_of_names(client: Client) -> None:
    for number, name in enumerate(
        ["ada", "Adam", "ADA B", "Bob", "A", "a_d", "a%d", "Ádám", "ad\U0001f600"]
    ):
        create(client, name=name, email=f"u{number}@example.com")
    assert names(walk(client, "/users?name_prefix=aDa&limit=1")) == [
        "ada", "ADA B", "Adam",
    ]  # fmt: skip
    assert names(walk(client, "/users?name_prefix=a_")) == ["a_d"]
    assert names(walk(client, "/users?name_prefix=a%25")) == ["a%d"]
    assert names(walk(client, "/users?name_prefix=ad")) == [
        "ada", "ADA B", "Adam", "ad\U0001f600",
    ]  # fmt: skip


def test_pages_by_name_go_back_too_and_keep_the_filter(client: Client) -> None:
    for number in range(5):
        create(client, name=f"Ada {number}", email=f"u{number}@example.com")
    first = client.get("/users?name_prefix=ada&limit=2").json()
    second = client.get(first["next"])
    back = client.get(second.json()["previous"]).json()
    assert names(second.json()["users"]) == ["Ada 2", "Ada 3"]
    assert names(back["users"]) == ["Ada 0", "Ada 1"]
    assert back["previous"] is None
    assert 'rel="prev"' in second["Link"]


def test_equal_names_are_all_walked(client: Client) -> None:
    ids = {create(client, email=f"u{n}@example.com")["id"] for n in range(5)}
    walked = [user["id"] for user in walk(client, "/users?name_prefix=ada&limit=2")]
    assert set(walked) == ids
    assert len(walked) == 5


def test_a_range_of_creation_times_has_its_start_and_not_its_end(
    client: Client,
) -> None:
    users = [create(client, email=f"u{n}@example.com") for n in range(4)]
    begin, end = users[1]["created_at"], users[3]["created_at"]
    found = walk(client, f"/users?created_from={begin}&created_to={end}&limit=1")
    assert [user["id"] for user in found] == [users[2]["id"], users[1]["id"]]
    shifted = quote("2000-01-01T00:00:00+02:00")
    assert len(walk(client, f"/users?created_from={shifted}")) == 4
    far = "2000-01-01T00:17:35-23:01"
    assert len(walk(client, f"/users?created_from={far}")) == 4


def test_a_cursor_of_another_order_is_refused(client: Client) -> None:
    for number in range(2):
        create(client, email=f"u{number}@example.com")
    cursor = client.get("/users?limit=1").json()["next"].partition("cursor=")[2]
    answer = client.get(f"/users?name_prefix=a&cursor={cursor}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["parameter"] == "cursor"


def test_a_prefix_finds_every_name_that_begins_so(client: Client) -> None:
    """Also those that were stored before their characters were judged."""
    last = "\U0010ffff"
    stored = ["ad", "Ad\uffff", "AD\U0001f600", f"ad{last}", f"ad{last * 98}", "ad\x7f"]
    others = ["a", "ac" + last, "ae", "\u00e4d", "a d"]
    for number, name in enumerate(stored + others):
        User.objects.create(name=name, email=f"u{number}@example.com")
    found = names(walk(client, "/users?name_prefix=aD&limit=2"))
    assert sorted(found) == sorted(stored)
    assert names(walk(client, f"/users?name_prefix={quote('ad' + last)}")) == [
        f"ad{last}", f"ad{last * 98}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "prefix", "matches"),
    [("\u00c1da", "\u00c1D", True), ("\u00c1da", "\u00e1d", False), ("Stra\u00dfe", "STRA\u00df", True),
     ("Stra\u00dfe", "strass", False), ("e\u0301a", "\u00e9", False), ("\u0130an", "i", False)],
)  # fmt: skip
def test_letters_beyond_a_to_z_match_only_as_they_are_stored(
    client: Client, name: str, prefix: str, matches: bool
) -> None:
    create(client, name=name)
    found = client.get("/users", {"name_prefix": prefix}).json()["users"]
    assert names(found) == ([name] if matches else [])
    parameter = openapi.PARAMETERS["name_prefix"]
    assert "A to Z match in either case" in parameter["description"]


@pytest.mark.parametrize("email", ["ada+x@example.com", "a+b+c@example.com"])
def test_a_plus_that_became_a_space_gets_a_hint(client: Client, email: str) -> None:
    create(client, email=email)
    refused = client.get(f"/users?email={email}")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_parameter")
    assert "%2B" in refused.json()["errors"][0]["reason"]
    assert client.get(f"/users?email={email.replace('+', '%2B')}").json()["count"] == 1
    created = client.get("/users?created_from=2026-11-24T09:30:00+00:00")
    assert "%2B" in created.json()["errors"][0]["reason"]
