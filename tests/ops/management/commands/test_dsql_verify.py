"""The proof, and every way in which it must fail."""

import copy
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from ops.clusters import verify
from ops.sandbox import lifecycle
from tests.checkout import free_ports
from users.models import User


@pytest.fixture(scope="module")
def schema(django_db_modify_db_settings: None, django_db_blocker: Any) -> Iterator[str]:
    """A migrated schema, seen by the alias ``verified``.

    Django's own tests allow no connection but the configured ones.
    """
    settings = copy.deepcopy(connections.databases["default"])
    connections.databases["verified"] = {**settings, "NAME": "postgres"}
    with django_db_blocker.unblock():
        creation = connections["verified"].creation
        name = creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
        yield str(name)
        creation.destroy_test_db("postgres", verbosity=0)
        connections["verified"].close()
    del connections["verified"]
    del connections.databases["verified"]


@pytest.fixture(autouse=True)
def both_endpoints(
    settings: Any, sandbox: lifecycle.Status, schema: str, django_db_blocker: Any
) -> Iterator[None]:
    """Whatever the outcome: nothing it wrote or opened is left."""
    settings.DSQL_PEER_ENDPOINT = sandbox.regions[1].endpoint
    before = connections.databases["default"]["NAME"]
    connections.databases["default"]["NAME"] = schema
    try:
        with django_db_blocker.unblock():
            yield
            assert not [name for name in connections if name.startswith("verify-")]
            assert not User.objects.using("verified").exists()
    finally:
        connections.databases["default"]["NAME"] = before


def report(*arguments: str, code: int = 0) -> dict[str, Any]:
    out = io.StringIO()
    options = ("--rounds", "2", "--format", "json", *arguments)
    if code:
        with pytest.raises(SystemExit) as ended:
            call_command("dsql_verify", *options, stdout=out)
        assert ended.value.code == code
    else:
        call_command("dsql_verify", *options, stdout=out)
    return dict(json.loads(out.getvalue()))


def outcomes(found: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(c["target"], c["name"]): c["outcome"] for c in found["checks"]}


def failure(found: dict[str, Any]) -> tuple[str, str]:
    """The reason and the hint of the first failed check."""
    check = next(c for c in found["checks"] if c["outcome"] == "failed")
    return check["reason"], check["hint"]


def test_two_well_regions_are_proved_with_numbers() -> None:
    found = report()
    names = ("login", "migrations", "indexes")
    assert outcomes(found) == {
        **{("us-east-1", name): "ok" for name in names},
        **{("us-east-2", name): "ok" for name in names},
        ("both", "replication"): "ok",
        ("us-east-1", "failover"): "ok",
        ("us-east-2", "failover"): "ok",
    }
    assert found["ok"] is True
    numbers = found["replication"]
    assert (numbers["rounds"], numbers["stale"]) == (4, 0)
    for kind in ("write_ms", "read_ms"):
        assert 0 < numbers[kind]["p50"] <= numbers[kind]["p95"]


def test_text_says_the_target_first_and_one_line_per_check() -> None:
    out = io.StringIO()
    call_command("dsql_verify", "--rounds", "1", stdout=out, no_color=True)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("Target: the sandbox at 127.0.0.1, us-east-1 and us-ea")
    assert [line.split()[0] for line in lines[1:10]] == ["ok"] * 9
    assert lines[10].startswith("2 writes, each read in the other Region at once: 0 st")


def test_a_way_out_that_leads_nowhere_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify.failover, "serving_without", lambda *_: None)
    reason, hint = failure(report(code=1))
    assert "was to be avoided, but served" in reason
    assert "be reached from here, by the same role?" in hint


def test_an_endpoint_that_is_down_fails_both_logins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("PGPORT", str(free_ports(1)[0]))
        found = report(code=1)
    assert outcomes(found) == {
        ("us-east-1", "login"): "failed",
        ("us-east-2", "login"): "failed",
        ("both", "replication"): "skipped",
    }
    reason, hint = failure(found)
    assert "onnection refused" in reason
    assert hint == "Is the sandbox up? manage.py sandbox up"


def test_one_lost_endpoint_leaves_the_other_proved(settings: Any) -> None:
    settings.DSQL_PEER_ENDPOINT = "a" * 26 + ".dsql.us-east-2.on.aws"
    found = outcomes(report(code=1))
    assert found["us-east-1", "indexes"] == "ok"
    assert found["us-east-2", "login"] == "failed"
    assert found["both", "replication"] == "skipped"


def test_one_endpoint_alone_proves_nothing(settings: Any) -> None:
    settings.DSQL_PEER_ENDPOINT = ""
    reason, hint = failure(report(code=1))
    assert reason == "Only one endpoint is known."
    assert "DSQL_PEER_ENDPOINT" in hint


def test_an_unapplied_migration_is_named() -> None:
    rows = MigrationRecorder.Migration.objects.using("verified")
    applied = rows.get(app="users", name="0001_initial")
    rows.filter(pk=applied.pk).delete()
    try:
        found = report(code=1)
    finally:
        applied.save(using="verified", force_insert=True)
    assert failure(found) == (
        "Not applied: users.0001_initial",
        "Run manage.py migrate.",
    )


@contextmanager
def invalid(superuser: psycopg.Connection[Any], index: str) -> Iterator[None]:
    superuser.execute("SET allow_system_table_mods = on")
    change = "UPDATE pg_index SET indisvalid = %s WHERE indexrelid = %s::regclass"
    superuser.execute(change, [False, index])
    try:
        yield
    finally:
        superuser.execute(change, [True, index])


def test_an_invalid_index_is_named(
    superuser: psycopg.Connection[Any], schema: str
) -> None:
    with invalid(superuser, schema.removeprefix("postgres.") + ".users_user_newest"):
        reason, hint = failure(report(code=1))
    assert reason == "Not valid: users_user_newest"
    assert "sys.jobs" in hint


def test_a_stale_read_fails_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_read", lambda *_: ("before", 0.1))
    found = report(code=1)
    assert found["replication"]["stale"] == 4
    assert failure(found)[0] == "4 of 4 reads missed the write before."


@pytest.mark.parametrize("rounds", ["0", "-1", "ten", "10001", "1.5"])
def test_rounds_out_of_range_are_refused(rounds: str) -> None:
    with pytest.raises(CommandError, match="is not a whole number from 1 to 10000"):
        call_command("dsql_verify", f"--rounds={rounds}")


def test_no_endpoint_is_an_error_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(connections.databases["default"], "HOST", "")
        with pytest.raises(ImproperlyConfigured, match="run `make run`"):
            call_command("dsql_verify")
