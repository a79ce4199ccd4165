"""Idempotency-Key: done once, whatever is repeated where."""

import json
from collections import Counter
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from config.api import idempotency
from config.api.models import StoredAnswer
from config.dsql import retry
from ops.sandbox import lifecycle
from ops.sandbox.faultline import Switch
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


def test_a_replay_outlives_the_user_and_later_changes(client: Client) -> None:
    first = post()
    client.delete(first["Location"])
    assert post().content == first.content
    assert User.objects.count() == 0


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
                lambda b=body, n=number: post(b, f"k{n}"),
                lambda b=body, n=number: post(b, f"k{n}"),
            )
            assert one.status_code == other.status_code == 201
            assert one.content == other.content
            replayed = ["Idempotency-Replayed" in answer for answer in (one, other)]
            assert sorted(replayed) == [False, True]
    assert User.objects.count() == 100


def test_a_spent_retry_budget_is_409(monkeypatch: pytest.MonkeyPatch) -> None:
    def conflicting(*_: Any, **__: Any) -> None:
        raise retry.ConflictRetriesExhausted

    monkeypatch.setattr("users.services.run_statement", conflicting)
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
    day_ago = timezone.now() - idempotency.KEPT - timedelta(seconds=1)
    StoredAnswer.objects.exclude(body__contains="u2@").update(created_at=day_ago)
    User.objects.filter(email=ADA["email"]).delete()
    assert "Idempotency-Replayed" not in post()
    assert User.objects.count() == 4
    out = StringIO()
    call_command("delete_expired_responses", format="json", stdout=out)
    assert json.loads(out.getvalue()) == {"deleted": 2}
    assert StoredAnswer.objects.count() == 2


def test_concurrent_repeats_of_an_expired_key_make_one_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retry, "DEFAULT_POLICY", retry.Policy(base_delay=0.001))
    with both_regions() as regions:
        for number in range(30):
            body, key = {**ADA, "email": f"u{number}@example.com"}, f"k{number}"
            post(body, key)
            day_ago = timezone.now() - idempotency.KEPT - timedelta(seconds=1)
            StoredAnswer.objects.update(created_at=day_ago)
            User.objects.all().delete()
            one, other = regions.at_once(
                lambda b=body, k=key: post(b, k), lambda b=body, k=key: post(b, k)
            )
            assert (one.status_code, other.status_code) == (201, 201)
            assert one.content == other.content
            assert User.objects.count() == 1


def test_expired_responses_are_deleted_in_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idempotency, "DELETED_ROWS", 2)
    old = timezone.now() - 2 * idempotency.KEPT
    for _ in range(5):
        StoredAnswer.objects.create(status=201, created_at=old)
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
    faults: Switch,
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


def test_every_round_makes_one_user_whatever_is_cut(
    faults: Switch, monkeypatch: pytest.MonkeyPatch
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
    assert User.objects.count() == StoredAnswer.objects.count() == 1000
    assert all(fault["struck"] > 150 for fault in faults.list()), faults.list()
    assert min(seen["first 503"], seen["found"]) > 25, seen
    # Also what the first request had done without knowing it.
    assert seen["replayed"] > seen["first 201"], seen
