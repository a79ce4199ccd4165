"""NDJSON import."""

import itertools
import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import (
    Error,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    connection,
)
from django.test import Client
from psycopg import errors

from config.api import bulk_import
from config.api.parsers import MAX_BODY_BYTES, load_object
from config.dsql import retry
from config.dsql.conflicts import OutcomeUnknown
from config.dsql.retry import ConflictRetriesExhausted
from config.dsql.writes import insert_missing
from ops.sample_users import sample_lines
from tests.failing import fail_statements
from tests.users.test_api import ADA, create, send
from users import services
from users.models import User

pytestmark = pytest.mark.django_db
NDJSON = "application/x-ndjson"


def lines(answer: Any) -> list[dict[str, Any]]:
    content = b"".join(answer.streaming_content)
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content.splitlines()]


def load(client: Client, *rows: Any) -> list[dict[str, Any]]:
    body = b"\n".join(
        row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows
    )
    answer = send(client, "POST", "/users/import", body, content_type=NDJSON)
    assert (answer.status_code, answer["Content-Type"]) == (200, NDJSON)
    return lines(answer)


def test_every_line_has_its_result(client: Client) -> None:
    there = create(client)
    results = load(
        client,
        {"name": "Grace", "email": "grace@example.com"},
        {"name": "Other", "email": ADA["email"].upper()},
        {"name": "", "email": "nobody"},
        b"{",
        b"\xff",
        {"name": "Twin", "email": "GRACE@example.com"},
    )
    grace = User.objects.get(email="grace@example.com")
    assert [r.get("status") for r in results[:-1]] == [
        "created", "exists", "invalid", "invalid", "invalid", "exists",
    ]  # fmt: skip
    assert [r["line"] for r in results[:-1]] == [1, 2, 3, 4, 5, 6]
    assert results[0]["id"] == results[5]["id"] == str(grace.pk)
    assert results[1]["id"] == there["id"]
    assert {e["pointer"] for e in results[2]["errors"]} == {"/name", "/email"}
    assert results[-1] == {"summary": {"created": 1, "exists": 2, "invalid": 3}}
    assert grace.name == "Grace"
    assert User.objects.count() == 2


def test_an_import_can_be_repeated(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_import, "BATCH_ROWS", 3)
    rows = [{"name": "x", "email": f"u{n}@example.com"} for n in range(8)]
    first = load(client, *rows)
    again = load(client, *rows)
    assert first[-1] == {"summary": {"created": 8}}
    assert again[-1] == {"summary": {"exists": 8}}
    assert [r["id"] for r in first[:-1]] == [r["id"] for r in again[:-1]]


def test_a_batch_that_fails_is_told_and_the_others_stay(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_import, "BATCH_ROWS", 2)
    calls: list[Any] = []

    def failing_once(users: list[User], **options: str) -> None:
        calls.append(users)
        if len(calls) == 2:
            raise OperationalError("connection lost")
        insert_missing(users, **options)

    monkeypatch.setattr(services, "insert_missing", failing_once)
    rows = [{"name": "x", "email": f"u{n}@example.com"} for n in range(6)]
    statuses = [r.get("status") for r in load(client, *rows)]
    assert statuses == ["created"] * 2 + ["failed"] * 2 + ["created"] * 2 + [None]


def test_a_full_batch_is_one_transaction_that_dsql_takes(client: Client) -> None:
    rows = [
        {"name": "\U0001f600" * 100, "email": f"u{n:04}{'x' * 50}@example.com"}
        for n in range(bulk_import.BATCH_ROWS + 1)
    ]
    assert load(client, *rows)[-1] == {
        "summary": {"created": bulk_import.BATCH_ROWS + 1}
    }


def test_too_much_at_once_is_413(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b" " * (5 * 1024 * 1024 + 1)
    answer = send(client, "POST", "/users/import", body, content_type=NDJSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    monkeypatch.setattr("config.api.ndjson.MAX_IMPORT_LINES", 2)
    answer = send(client, "POST", "/users/import", b"{}\n{}\n{}", content_type=NDJSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    # Two lines, the last of them ended as NDJSON ends it, and blank ones beside.
    answer = send(client, "POST", "/users/import", b"{}\n \n{}\n", content_type=NDJSON)
    assert answer.status_code == 200
    assert send(client, "POST", "/users/import", {}).status_code == 415


def test_a_line_keeps_its_number_beside_blank_ones(client: Client) -> None:
    results = load(client, b"", {"name": "A", "email": "a@example.com"}, b"  ", b"{")
    assert [r["line"] for r in results[:-1]] == [2, 4]


def clock_that_jumps(at: int) -> Callable[[], float]:
    """The deadline is over from the ``at``th look at it."""
    looks = itertools.count()
    return lambda: bulk_import.IMPORT_SECONDS if next(looks) > at else 0.0


def test_an_import_ends_in_time_with_a_result_for_every_line() -> None:
    rows = list(sample_lines(3 * bulk_import.BATCH_ROWS))
    clock = clock_that_jumps(bulk_import.BATCH_ROWS)
    results = list(
        services.users_import(rows, seconds=bulk_import.IMPORT_SECONDS, clock=clock)
    )
    created, failed = bulk_import.BATCH_ROWS, 2 * bulk_import.BATCH_ROWS
    assert results[-1] == {"summary": {"created": created, "failed": failed}}
    assert [r["line"] for r in results[:-1]] == list(range(1, len(rows) + 1))
    assert results[-2] == {"line": len(rows), "status": "failed", "cause": "deadline"}
    assert User.objects.count() == created


def test_an_import_looks_at_its_deadline_between_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged: list[bytes] = []

    def counted(text: bytes, **what: str) -> dict[str, Any]:
        judged.append(text)
        return load_object(text, **what)

    monkeypatch.setattr(bulk_import, "load_object", counted)
    rows = list(sample_lines(10))
    clock = clock_that_jumps(4)
    results = list(
        services.users_import(rows, seconds=bulk_import.IMPORT_SECONDS, clock=clock)
    )
    assert judged == rows[:4]
    # What is judged in time is stored; for that the deadline leaves time.
    assert results[-1] == {"summary": {"created": 4, "failed": 6}}
    assert User.objects.count() == 4


def test_a_line_that_is_too_long_is_refused_unread(client: Client) -> None:
    longest = json.dumps({**ADA, "name": "x" * 101}).encode()
    longest += b" " * (MAX_BODY_BYTES - len(longest))
    results = load(client, longest, longest + b" ", b" " * 2 * MAX_BODY_BYTES)
    assert [error["pointer"] for error in results[0]["errors"]] == ["/name"]
    (error,) = results[1]["errors"]
    assert error["reason"] == f"The line is longer than {MAX_BODY_BYTES} bytes."
    assert results[2:] == [{"summary": {"invalid": 2}}]


def test_the_errors_of_a_line_are_few_and_short(client: Client) -> None:
    unknown = {f"{n}{'x' * 500}": 1 for n in range(50)}
    (result, _) = load(client, {**ADA, **unknown})
    assert len(result["errors"]) == bulk_import.MAX_ERRORS
    assert all(len(e["pointer"]) <= bulk_import.MAX_POINTER for e in result["errors"])


def test_an_answer_full_of_errors_is_one_that_lambda_takes(client: Client) -> None:
    key = '\\"' * 58  # as large beside its answer as a key can be
    keys = ",".join(f'"{first}{key}":1' for first in "abc")
    line = b'{"name":"A","email":"a@example.com",' + keys.encode() + b"}"
    answer = send(
        client, "POST", "/users/import", b"\n".join([line] * 10_000),
        content_type=NDJSON,
    )  # fmt: skip
    content = b"".join(answer.streaming_content).decode()
    assert len(json.dumps(content)) < 6_000_000
    *results, last = map(json.loads, content.splitlines())
    assert last == {"summary": {"invalid": 10_000}}
    assert (len(results[0]["errors"]), results[-1]["errors"]) == (3, [])


def test_a_domain_is_written_as_dns_has_it(client: Client) -> None:
    for email in ("a@\u212aelvin.com", "a@éx.com"):
        (result, _) = load(client, {"name": "A", "email": email})
        assert result["status"] == "invalid"
        assert "ASCII" in result["errors"][0]["reason"]
    assert load(client, {"name": "A", "email": "a@xn--x-9ga.com"})[0]["id"]


def test_an_import_takes_no_key(client: Client) -> None:
    answer = send(
        client, "POST", "/users/import", b"{}", content_type=NDJSON,
        HTTP_IDEMPOTENCY_KEY="k",
    )  # fmt: skip
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["detail"]


UNDEFINED = {"column": errors.UndefinedColumn, "table": errors.UndefinedTable}
FAILURES = [
    (OperationalError("connection lost"), "database_unavailable"),
    (ConflictRetriesExhausted("still conflicting"), "write_conflict"),
    (OutcomeUnknown("lost at COMMIT"), "outcome_unknown"),
]


@pytest.mark.parametrize(("error", "code"), FAILURES)
@pytest.mark.parametrize("invalid", [0, 3])
def test_an_import_that_stores_nothing_is_503(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    error: Error,
    code: str,
    invalid: int,
) -> None:
    def failing(users: list[User], **options: str) -> None:
        raise error

    monkeypatch.setattr(bulk_import, "BATCH_ROWS", 2)
    monkeypatch.setattr(services, "insert_missing", failing)
    body = b"{}\n" * invalid + b"\n".join(sample_lines(5))
    response = send(client, "POST", "/users/import", body, content_type=NDJSON)
    assert (response.status_code, response.json()["code"]) == (503, code)


def test_users_that_were_stored_and_cannot_be_read_are_not_said_to_be_undone(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b"\n".join(sample_lines(2))
    with monkeypatch.context() as patched:
        fail_statements(patched, OperationalError("connection lost"), verb="SELECT")
        response = send(client, "POST", "/users/import", body, content_type=NDJSON)
    assert (response.status_code, response.json()["code"]) == (503, "outcome_unknown")
    assert User.objects.count() == 2


@pytest.mark.parametrize(("error", "code"), FAILURES)
def test_a_batch_that_fails_later_says_why(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: Error, code: str
) -> None:
    monkeypatch.setattr(bulk_import, "BATCH_ROWS", 2)
    calls: list[Any] = []

    def failing_later(users: list[User], **options: str) -> None:
        calls.append(users)
        if len(calls) > 1:
            raise error
        insert_missing(users, **options)

    monkeypatch.setattr(services, "insert_missing", failing_later)
    results = load(client, *sample_lines(4))
    assert [r.get("cause") for r in results] == [None, None, code, code, None]
    assert results[-1] == {"summary": {"created": 2, "failed": 2}}


@pytest.mark.django_db(transaction=True)
def test_a_missing_column_is_called_by_its_name_on_every_route(client: Client) -> None:
    user = create(client)
    rename = "ALTER TABLE users_user RENAME COLUMN {} TO {}"
    with connection.cursor() as cursor:
        cursor.execute(rename.format("name", "label"))
    try:
        path = f"/users/{user['id']}"
        grace = b'{"name": "Grace", "email": "grace@example.com"}'
        for response in (
            send(client, "POST", "/users/import", grace, content_type=NDJSON),
            send(client, "POST", "/users", grace),
            send(client, "PATCH", path, {"name": "x"}),
            client.get(path),
            client.get("/users"),
            client.get("/users/export"),
        ):
            problem = response.json()
            assert (response.status_code, problem["code"]) == (503, "schema_behind")
            assert "schema: behind" in problem["detail"]
        with pytest.raises(CommandError, match="a migration of this version makes"):
            call_command("seed_users", stdout=StringIO())
    finally:
        with connection.cursor() as cursor:
            cursor.execute(rename.format("label", "name"))


@pytest.mark.parametrize("what", UNDEFINED)
def test_what_is_missing_later_is_a_cause_too(
    client: Client, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(bulk_import, "BATCH_ROWS", 1)
    calls: list[Any] = []

    def failing_later(users: list[User], **options: str) -> None:
        calls.append(users)
        if len(calls) > 1:
            raise ProgrammingError from UNDEFINED[what]()
        insert_missing(users, **options)

    monkeypatch.setattr(services, "insert_missing", failing_later)
    monkeypatch.setattr(retry, "COLUMN_DELAYS", ())
    results = load(client, *sample_lines(2))
    assert results[1]["cause"] == "schema_behind"


def test_a_user_that_is_gone_again_does_not_exist(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "insert_missing", lambda *_, **__: None)
    (result, summary) = load(client, ADA)
    assert result == {"line": 1, "status": "failed", "cause": "write_conflict"}
    assert summary == {"summary": {"failed": 1}}


@pytest.mark.django_db(transaction=True)
def test_only_the_email_may_be_in_the_way(client: Client) -> None:
    there = create(client)
    other = User(id=there["id"], name="Other", email="other@example.com")
    with pytest.raises(IntegrityError, match="users_user_pkey"):
        insert_missing([other], conflict_target=services.EMAIL_INDEX)
    other = User(name="Other", email=ADA["email"].upper())
    insert_missing([other], conflict_target=services.EMAIL_INDEX)
    assert User.objects.get().name == ADA["name"]


def test_a_byte_order_mark_is_no_content(client: Client) -> None:
    mark, line = b"\xef\xbb\xbf", json.dumps(ADA).encode()
    results = load(client, mark + line, mark + line)
    assert [r["status"] for r in results[:-1]] == ["created", "exists"]
    created = {**ADA, "email": "b@example.com"}
    response = send(client, "POST", "/users", mark + json.dumps(created).encode())
    assert response.status_code == 201
