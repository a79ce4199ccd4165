"""Idempotency-Key: done once, whatever is repeated where."""

import json
from collections import Counter
from datetime import timedelta
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, connections
from django.test import Client
from django.utils import timezone

from config.api import idempotency
from config.api.models import StoredResponse
from config.dsql import retry
from config.dsql.conflicts import OutcomeUnknown
from ops.local.sandbox import lifecycle
from ops.local.sandbox.fault_control import FaultClient
from tests.failing import fail_statements
from tests.regions import both_regions
from tests.users.test_api import ADA, create, send
from tests.wire import relay
from users.models import User

PRIMARY = "us-east-1"
pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "secondary"])


def post(body: Any = ADA, key: str = "k1", path: str = "/users", **extra: str) -> Any:
    client = Client(raise_request_exception=False)
    return send(client, "POST", path, body, HTTP_IDEMPOTENCY_KEY=key, **extra)


def test_a_repeat_in_the_other_region_gets_the_same_answer() -> None:
    with both_regions() as regions:
        first = regions.serve(0, post)
        second = regions.serve(1, lambda: post({**dict(reversed(ADA.items()))}))
    assert first.status_code == second.status_code == 201
    assert first.content == second.content
    for header in ("Location", "ETag", "Content-Type"):
        assert first[header] == second[header]
    assert second["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first
    assert User.objects.count() == 1


def test_a_replay_outlives_later_changes(client: Client) -> None:
    first = post()
    send(client, "PATCH", first["Location"], {"name": "Grace"})
    assert post().content == first.content


def test_after_a_deletion_no_replay_in_any_region_names_anyone() -> None:
    with both_regions() as regions:
        for number, (creating, deleting) in enumerate([(0, 0), (0, 1), (1, 0)]):
            key = f"k{number}"
            path = regions.serve(creating, partial(post, key=key))["Location"]
            gone = regions.serve(deleting, partial(Client().delete, path))
            assert gone.status_code == 204
            for region in (0, 1):
                answer = regions.serve(region, partial(post, key=key))
                assert (answer.status_code, answer.json()["code"]) == (410, "gone")
                assert "Ada" not in f"{answer.content!r} {answer.headers}"
                assert "Idempotency-Replayed" not in answer
            assert User.objects.count() == 0
    for stored in StoredResponse.objects.values("fingerprint", "headers", "body"):
        assert stored == {"fingerprint": "", "headers": "{}", "body": ""}


def test_an_erased_key_is_gone_for_other_bodies_and_new_after_its_time() -> None:
    Client().delete(post()["Location"])
    assert post({**ADA, "name": "Grace"}).status_code == 410
    day_ago = timezone.now() - idempotency.RETENTION - timedelta(seconds=1)
    StoredResponse.objects.update(created_at=day_ago)
    assert post().status_code == 201


def test_a_deletion_that_is_refused_erases_nothing() -> None:
    first = post()
    conditions: list[dict[str, Any]] = [
        {"HTTP_IF_MATCH": '"1"'}, {"HTTP_IF_NONE_MATCH": "*"},
    ]  # fmt: skip
    for header in conditions:
        assert Client().delete(first["Location"], **header).status_code == 412
    other = Client().delete("/users/6f1c0a3e-3f7e-4d57-9a53-0f3d8a3a1b11")
    assert other.status_code == 404
    assert post().content == first.content


def test_a_deletion_erases_the_answer_about_its_own_user_only() -> None:
    first, second = post(), post({**ADA, "email": "b@example.com"}, key="k2")
    Client().delete(first["Location"])
    assert post({**ADA, "email": "b@example.com"}, key="k2").content == second.content


def test_a_deletion_repeated_erases_what_a_release_before_left() -> None:
    first = post()
    User.objects.all().delete()
    assert post().content == first.content
    assert Client().delete(first["Location"]).status_code == 404
    assert post().status_code == 410


def test_a_deletion_and_its_erasure_are_one_round_trip(
    sandbox: lifecycle.Status,
) -> None:
    connection.close()
    try:
        with relay(sandbox.port) as wire:
            paths = [
                post({**ADA, "email": f"{n}@example.com"}, key=f"k{n}")["Location"]
                for n in range(2)
            ]
            Client().delete(paths[0])
            wire.reset()
            assert Client().delete(paths[1]).status_code == 204
            assert wire.round_trips == 1
    finally:
        connection.close()


def test_replays_during_a_deletion_are_before_or_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retry, "DEFAULT_POLICY", retry.Policy(base_delay=0.001))
    with both_regions() as regions:
        for number in range(20):
            body, key = {**ADA, "email": f"u{number}@example.com"}, f"k{number}"
            first = post(body, key)
            gone, replay = regions.at_once(
                partial(Client().delete, first["Location"]),
                partial(post, body, key),
            )
            assert gone.status_code == 204
            assert replay.status_code in {201, 410}
            if replay.status_code == 201:
                assert replay.content == first.content
            assert [regions.serve(r, partial(post, body, key)).status_code
                    for r in (0, 1)] == [410, 410]  # fmt: skip
    assert User.objects.count() == 0


def test_a_user_and_the_answer_about_it_go_together_whatever_is_cut(
    faults: FaultClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "DEFAULT_POLICY", retry.Policy(base_delay=0.001))
    with both_regions() as regions:
        users = [
            regions.serve(1, partial(post, {**ADA, "email": f"{n}@a.com"}, f"k{n}"))
            for n in range(50)
        ]
        rates = {"cut-before-statement": 0.2, "cut-after-commit": 0.3, "conflict": 0.2}
        for seed, (kind, rate) in enumerate(rates.items()):
            faults.add(kind, region=PRIMARY, rate=rate, seed=seed)
        seen: Counter[int] = Counter()
        for user in users:
            path = user["Location"]
            client = Client(raise_request_exception=False)
            answer = regions.serve(0, partial(client.delete, path))
            seen[answer.status_code] += 1
        faults.clear()
        for number, user in enumerate(users):
            there = User.objects.filter(pk=user.json()["id"]).exists()
            body = {**ADA, "email": f"{number}@a.com"}
            replay = regions.serve(1, partial(post, body, f"k{number}"))
            assert replay.status_code == (201 if there else 410)
    assert set(seen) <= {204, 404, 503}
    assert seen[503] > 3
    assert seen[204] > 12


def test_a_replay_leads_to_where_its_own_caller_sees_the_api() -> None:
    path = post(SCRIPT_NAME="/primary")["Location"].removeprefix("/primary")
    for mount in ("/secondary", "", "/users", "/primary"):
        answer = post(SCRIPT_NAME=mount)
        assert answer["Location"] == f"{mount}{path}"
        assert answer["Idempotency-Replayed"] == "true"


def test_the_same_key_for_another_request_is_422() -> None:
    post()
    answer = post({**ADA, "name": "Grace"})
    assert (answer.status_code, answer.json()["code"]) == (
        422,
        "idempotency_key_reused",
    )
    assert User.objects.count() == 1


def test_only_success_is_stored(client: Client) -> None:
    user = create(client)
    assert post().status_code == 409
    assert post({"name": "x"}).status_code == 400
    client.delete(f"/users/{user['id']}")
    answer = post()
    assert (answer.status_code, "Idempotency-Replayed" in answer) == (201, False)


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "k" * 256])
def test_a_malformed_key_is_refused(key: str) -> None:
    answer = post(key=key)
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["detail"]
    assert User.objects.count() == 0


def test_concurrent_repeats_make_one_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "DEFAULT_POLICY", retry.Policy(base_delay=0.001))
    with both_regions() as regions:
        for number in range(100):
            body = {**ADA, "email": f"u{number}@example.com"}
            one, other = regions.at_once(
                partial(post, body, f"k{number}"),
                partial(post, body, f"k{number}"),
            )
            assert one.status_code == other.status_code == 201
            assert one.content == other.content
            replayed = ["Idempotency-Replayed" in answer for answer in (one, other)]
            assert sorted(replayed) == [False, True]
    assert User.objects.count() == 100


def test_a_spent_retry_budget_is_409(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_statements(monkeypatch, retry.ConflictRetriesExhausted())
    answer = post()
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")
    assert answer["Retry-After"] == "1"


def test_an_expired_response_is_forgotten_and_deleted() -> None:
    post()
    for number in range(3):
        post(
            {**ADA, "email": f"u{number}@example.com"},
            key=f"new {number}".replace(" ", ""),
        )
    day_ago = timezone.now() - idempotency.RETENTION - timedelta(seconds=1)
    StoredResponse.objects.exclude(body__contains="u2@").update(created_at=day_ago)
    User.objects.filter(email=ADA["email"]).delete()
    assert "Idempotency-Replayed" not in post()
    assert User.objects.count() == 4
    out = StringIO()
    call_command("delete_expired_responses", format="json", stdout=out)
    assert json.loads(out.getvalue()) == {"deleted": 2}
    assert StoredResponse.objects.count() == 2


def test_concurrent_repeats_of_an_expired_key_make_one_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retry, "DEFAULT_POLICY", retry.Policy(base_delay=0.001))
    with both_regions() as regions:
        for number in range(30):
            body, key = {**ADA, "email": f"u{number}@example.com"}, f"k{number}"
            post(body, key)
            day_ago = timezone.now() - idempotency.RETENTION - timedelta(seconds=1)
            StoredResponse.objects.update(created_at=day_ago)
            User.objects.all().delete()
            one, other = regions.at_once(
                partial(post, body, key), partial(post, body, key)
            )
            assert (one.status_code, other.status_code) == (201, 201)
            assert one.content == other.content
            assert User.objects.count() == 1


def test_expired_responses_are_deleted_in_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idempotency, "DELETED_ROWS", 2)
    old = timezone.now() - 2 * idempotency.RETENTION
    for _ in range(5):
        StoredResponse.objects.create(status=201, created_at=old)
    assert idempotency.delete_expired() == 5
    assert idempotency.delete_expired() == 0


def test_a_key_costs_no_round_trip_and_a_replay_one(sandbox: lifecycle.Status) -> None:
    connection.close()
    try:
        with relay(sandbox.port) as wire:
            post({**ADA, "email": "first@example.com"}, key="first")
            counts = []
            for _ in range(2):
                wire.reset()
                post()
                counts.append(wire.round_trips)
    finally:
        connection.close()
    assert counts == [1, 2]


def test_an_answer_lost_after_commit_is_replayed_in_the_other_region(
    faults: FaultClient,
) -> None:
    with both_regions() as regions:
        regions.serve(0, lambda: post(ADA | {"email": "before@example.com"}, "k0"))
        faults.add("cut-after-commit", region=PRIMARY, times=1)
        # The request looks for what it did, on a new connection.
        faults.add("cut-before-statement", region=PRIMARY, statement=1, times=1)
        first = regions.serve(0, post)
        second = regions.serve(1, post)
    assert [fault["struck"] for fault in faults.list()] == [1, 1]
    assert (first.status_code, first.json()["code"]) == (503, "outcome_unknown")
    assert second.status_code == 201
    assert second["Idempotency-Replayed"] == "true"
    user = User.objects.get(email=ADA["email"])
    assert second.json()["id"] == str(user.id)


def test_what_cannot_be_looked_up_stays_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first attempt may have been committed: that nothing was done would be a lie."""
    outcomes = [OutcomeUnknown("lost"), OperationalError("no connection")]
    met = fail_statements(monkeypatch, *outcomes)
    answer = post()
    assert (answer.status_code, answer.json()["code"]) == (503, "outcome_unknown")
    assert met == outcomes


@pytest.mark.parametrize("key", ["k1", "k2"], ids=["the key", "the address"])
def test_what_is_known_to_be_taken_and_cannot_be_looked_up_is_unknown(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request may have been done before: that nothing was done would be a lie."""
    assert post().status_code == 201
    with monkeypatch.context() as patched:
        fail_statements(patched, OperationalError("no connection"), verb="SELECT")
        answer = post(key=key)
    assert (answer.status_code, answer.json()["code"]) == (503, "outcome_unknown")
    assert post().headers["Idempotency-Replayed"] == "true"


def test_a_second_attempt_is_judged_without_what_the_first_one_met(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The key's row was in the first one's way, and is gone when the second one fails."""
    assert post().status_code == 201
    lookups: list[str] = []

    def fail(execute: Any, statement: str, *args: Any) -> Any:
        if statement.startswith("SELECT") and not lookups:
            lookups.append(statement)
            StoredResponse.objects.all().delete()
            raise OperationalError("no connection")
        if statement.startswith("INSERT") and lookups:
            raise OperationalError("no connection")
        return execute(statement, *args)

    monkeypatch.setattr(connections["default"], "execute_wrappers", [fail])
    answer = post()
    assert (answer.status_code, answer.json()["code"]) == (503, "outcome_unknown")
    assert len(lookups) == 1


@pytest.mark.slow
def test_every_round_makes_one_user_whatever_is_cut(
    faults: FaultClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request lost, its answer after COMMIT, a conflict; then the same elsewhere."""
    monkeypatch.setattr(retry, "DEFAULT_POLICY", retry.Policy(base_delay=0.001))
    rates = {"cut-before-statement": 0.2, "cut-after-commit": 0.3, "conflict": 0.2}
    for seed, (kind, rate) in enumerate(rates.items()):
        faults.add(kind, region=PRIMARY, rate=rate, seed=seed)
    seen: Counter[str] = Counter()
    with both_regions() as regions:
        for number in range(1000):
            body = {**ADA, "email": f"u{number}@example.com"}

            def send_one(body: Any = body, key: str = f"k{number}") -> Any:
                return post(body, key)

            first = regions.serve(0, send_one)
            second = regions.serve(1, send_one)
            assert first.status_code in {201, 503}
            assert second.status_code == 201
            if first.status_code == 201:
                assert second.content == first.content
                assert second["Idempotency-Replayed"] == "true"
            seen[f"first {first.status_code}"] += 1
            # An answer lost after COMMIT is found by its key in the same request.
            seen["found"] += first.get("Idempotency-Replayed") == "true"
            seen["replayed"] += second.get("Idempotency-Replayed") == "true"
    assert User.objects.count() == StoredResponse.objects.count() == 1000
    assert all(fault["struck"] > 150 for fault in faults.list()), faults.list()
    assert min(seen["first 503"], seen["found"]) > 25, seen
    # Also what the first request had done without knowing it.
    assert seen["replayed"] > seen["first 201"], seen
