"""ETag, If-Match, If-None-Match and merge patch."""

import json
from datetime import timedelta
from functools import partial
from typing import Any
from unittest import mock

import pytest
from django.test import Client
from django.utils import timezone

from config.api.conditions import MAX_TAGS
from config.dsql import retry
from tests.regions import both_regions
from tests.users.test_api import ADA, create, send
from users.models import User

pytestmark = pytest.mark.django_db
STALE = '"5f3a"'


def path_and_tag(client: Client) -> tuple[str, str]:
    path = f"/users/{create(client)['id']}"
    return path, client.get(path)["ETag"]


def test_an_unchanged_user_is_304_with_its_tag_and_no_body(client: Client) -> None:
    path, tag = path_and_tag(client)
    for header in (tag, f"W/{tag}", f"{STALE}, {tag}", "*"):
        answer = client.get(path, HTTP_IF_NONE_MATCH=header)
        assert (answer.status_code, answer.content) == (304, b""), header
        assert answer["ETag"] == tag
    assert client.get(path, HTTP_IF_NONE_MATCH=STALE).status_code == 200


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
def test_a_change_is_made_only_to_the_named_version(
    client: Client, method: str
) -> None:
    path, tag = path_and_tag(client)
    body = {"name": "Ada King", "email": ADA["email"]}
    for refused in (STALE, f"W/{tag}", '"not-hex"', '"' + "f" * 40 + '"'):
        answer = send(client, method, path, body, HTTP_IF_MATCH=refused)
        assert (answer.status_code, answer.json()["code"]) == (
            412,
            "precondition_failed",
        ), refused
    for refused in ("*", tag, f"W/{tag}"):
        answer = send(client, method, path, body, HTTP_IF_NONE_MATCH=refused)
        assert answer.status_code == 412, refused
    assert client.get(path)["ETag"] == tag
    done = send(client, method, path, body, HTTP_IF_MATCH=f"{STALE}, {tag}")
    assert done.status_code in {200, 204}
    assert done.get("ETag") != tag
    again = send(client, method, path, body, HTTP_IF_MATCH=tag)
    assert again.status_code == (404 if method == "DELETE" else 412)


def test_any_version_is_a_condition_too(client: Client) -> None:
    path, _ = path_and_tag(client)
    change = {"name": "Ada King"}
    assert send(client, "PATCH", path, change, HTTP_IF_MATCH="*").status_code == 200
    assert client.get(path, HTTP_IF_MATCH=STALE).status_code == 412
    assert client.get(path, HTTP_IF_MATCH="*").status_code == 200


@pytest.mark.parametrize(
    "header", ["", ",", "abc", '"a" "b"', 'w/"a"', '"\x7f"', '"a"b,', '"a"\n']
)
def test_a_malformed_condition_is_refused(client: Client, header: str) -> None:
    path, _ = path_and_tag(client)
    answer = send(client, "PATCH", path, {"name": "x"}, HTTP_IF_MATCH=header)
    assert answer.status_code == 400
    assert "If-Match" in answer.json()["detail"]


@pytest.mark.parametrize("header", ["{},", ', {} , "x"', '"a,b", {}', '"\xe9",\t{}'])
def test_a_list_may_have_empty_members_and_any_tag(client: Client, header: str) -> None:
    path, tag = path_and_tag(client)
    assert client.get(path, HTTP_IF_NONE_MATCH=header.format(tag)).status_code == 304
    done = send(client, "PATCH", path, {"name": "x"}, HTTP_IF_MATCH=header.format(tag))
    assert done.status_code == 200


def test_a_star_in_quotes_is_a_tag_like_any_other(client: Client) -> None:
    path, _ = path_and_tag(client)
    answer = send(client, "PATCH", path, {"name": "x"}, HTTP_IF_MATCH='"*"')
    assert answer.status_code == 412
    assert client.get(path, HTTP_IF_NONE_MATCH='"*"').status_code == 200


@pytest.mark.parametrize("change", ["0{}", "0x{}", "+{}", "{}_0", " {}"])
def test_a_tag_matches_letter_by_letter(client: Client, change: str) -> None:
    path, tag = path_and_tag(client)
    opaque = tag.strip('"')
    for other in {change.format(opaque), opaque.upper()} - {opaque}:
        answer = send(client, "PATCH", path, {"name": "x"}, HTTP_IF_MATCH=f'"{other}"')
        assert answer.status_code in {400, 412}, other
    assert client.get(path)["ETag"] == tag


def test_answers_without_a_body_say_nothing_of_its_type(client: Client) -> None:
    path, tag = path_and_tag(client)
    for answer in (client.get(path, HTTP_IF_NONE_MATCH=tag), client.delete(path)):
        assert answer.status_code in {304, 204}
        assert "Content-Type" not in answer


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_equal_values_keep_the_version(client: Client, method: str) -> None:
    user = create(client)
    path = f"/users/{user['id']}"
    before = client.get(path)
    same = {name: user[name] for name in ("name", "email")}
    for body in [same] if method == "PUT" else [same, {"name": f" {same['name']} "}]:
        answer = send(client, method, path, body)
        assert (answer.status_code, answer["ETag"]) == (200, before["ETag"])
        assert answer.json() == before.json()
    cased = send(client, method, path, {**same, "email": same["email"].upper()})
    assert cased["ETag"] != before["ETag"]
    assert cased.json()["updated_at"] > before.json()["updated_at"]


@pytest.mark.parametrize("kind", ["application/json", "application/merge-patch+json"])
def test_an_empty_patch_is_refused(client: Client, kind: str) -> None:
    user = create(client)
    path = f"/users/{user['id']}"
    answer = send(client, "PATCH", path, {}, content_type=kind)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert "empty" in answer.json()["detail"]
    assert user["email"] not in answer.content.decode()


def test_what_a_patch_may_be_is_told(client: Client) -> None:
    path, _ = path_and_tag(client)
    told = "application/json, application/merge-patch+json"
    assert client.options(path)["Accept-Patch"] == told
    refused = send(client, "PATCH", path, b"x", content_type="text/plain")
    assert (refused.status_code, refused["Accept-Patch"]) == (415, told)
    refused = send(client, "POST", "/users", b"x", content_type="text/plain")
    assert (refused.status_code, refused["Accept"]) == (415, "application/json")
    assert "Accept-Patch" not in refused


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", ""])
def test_an_empty_body_changes_nothing(client: Client, content_type: str) -> None:
    path, tag = path_and_tag(client)
    for method, where in (("PATCH", path), ("PUT", path), ("POST", "/users")):
        answer = send(client, method, where, b"", content_type=content_type)
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
    assert send(client, "PATCH", path, b"", CONTENT_LENGTH="00").status_code == 400
    assert client.get(path)["ETag"] == tag


def test_a_deployment_can_demand_the_version(client: Client, settings: Any) -> None:
    settings.REQUIRE_IF_MATCH = True
    path, tag = path_and_tag(client)
    for method in ("PUT", "PATCH", "DELETE"):
        answer = send(client, method, path, ADA)
        assert (answer.status_code, answer.json()["code"]) == (
            428,
            "precondition_required",
        )
    assert send(client, "DELETE", path, b"", HTTP_IF_MATCH=tag).status_code == 204


def test_a_clock_that_is_behind_still_makes_a_later_version(client: Client) -> None:
    path, tag = path_and_tag(client)
    before = client.get(path).json()["updated_at"]
    an_hour_ago = timezone.now() - timedelta(hours=1)
    with mock.patch.object(timezone, "now", return_value=an_hour_ago):
        answer = send(client, "PATCH", path, {"name": "x"})
    assert answer.json()["updated_at"] > before
    assert answer["ETag"] != tag


def test_a_merge_patch_changes_what_it_names(client: Client) -> None:
    path, _ = path_and_tag(client)
    kind = {"content_type": "application/merge-patch+json"}
    answer = send(client, "PATCH", path, {"name": "Ada King"}, **kind)
    assert (answer.status_code, answer.json()["email"]) == (200, ADA["email"])
    for body, pointer in (
        ({"name": None}, "/name"),
        ({"id": "1"}, "/id"),
        ({"created_at": None}, "/created_at"),
    ):
        refused = send(client, "PATCH", path, body, **kind)
        assert refused.status_code == 400
        assert refused.json()["errors"][0]["pointer"] == pointer
    assert send(client, "PATCH", path, [], **kind).status_code == 400
    assert send(client, "PUT", path, ADA, **kind).status_code == 415


@pytest.mark.django_db(transaction=True, databases=["default", "secondary"])
def test_of_two_regions_with_one_tag_exactly_one_wins(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "DEFAULT_POLICY", retry.Policy(base_delay=0.001))
    path, tag = path_and_tag(client)

    def patch(name: str) -> Any:
        body = json.dumps({"name": name})
        answer = Client().patch(path, body, "application/json", HTTP_IF_MATCH=tag)
        return answer.status_code, answer.get("ETag"), name

    with both_regions() as regions:
        for number in range(500):
            answers = regions.at_once(
                partial(patch, f"primary {number}"),
                partial(patch, f"secondary {number}"),
            )
            winner, loser = sorted(answers)
            assert (winner[0], loser[0]) == (200, 412), number
            tag = winner[1]
    assert User.objects.get().name == winner[2]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_a_condition_that_fails_says_what_is_wrong(client: Client, method: str) -> None:
    path, tag = path_and_tag(client)
    cases = [
        ({"HTTP_IF_MATCH": f"W/{tag}"}, "weak"),
        ({"HTTP_IF_MATCH": f"{STALE}, W/{tag}"}, "weak"),
        ({"HTTP_IF_MATCH": STALE}, "changed since"),
        ({"HTTP_IF_MATCH": STALE, "HTTP_IF_NONE_MATCH": '"x"'}, "If-Match and If-None"),
    ]
    if method != "GET":  # which is 304
        cases += [
            ({"HTTP_IF_NONE_MATCH": "*"}, "If-None-Match: *"),
            ({"HTTP_IF_NONE_MATCH": tag}, "a version that If-None-Match names"),
            ({"HTTP_IF_MATCH": tag, "HTTP_IF_NONE_MATCH": tag}, "If-Match and If-None"),
        ]
    for headers, reason in cases:
        answer = send(client, method, path, ADA, **headers)
        assert (answer.status_code, answer.json()["code"]) == (
            412,
            "precondition_failed",
        )
        assert reason in answer.json()["detail"], headers
        assert ("changed since" in answer.json()["detail"]) == (
            reason == "changed since"
        )
    strong_too = {"HTTP_IF_MATCH": f"W/{tag}, {tag}"}
    assert send(client, method, path, ADA, **strong_too).status_code in {200, 204}


@pytest.mark.parametrize("header", ["HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH"])
def test_the_tags_of_a_condition_are_counted_before_the_database_sees_them(
    client: Client, header: str
) -> None:
    path, tag = path_and_tag(client)
    tags = [f'"{number:x}"' for number in range(MAX_TAGS - 1)] + [tag]
    within: dict[str, Any] = {header: ", ".join(tags)}
    assert client.get(path, **within).status_code in {200, 304}
    beyond: dict[str, Any] = {header: ", ".join([*tags, '"x"'])}
    refused = client.get(path, **beyond)
    assert (refused.status_code, refused.json()["code"]) == (400, "malformed")
