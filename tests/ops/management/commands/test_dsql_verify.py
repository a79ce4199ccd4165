"""The proof, and every way in which it must fail: the data plane's checks."""

import copy
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from django.db.migrations.recorder import MigrationRecorder

from config.dsql.retry import run_transaction
from ops.clusters import checks_across, checks_data
from ops.clusters.database import RUNTIME_ROLE, fetch, prepare
from ops.clusters.verify import ACROSS, CONTROL, DATA
from ops.local.sandbox import lifecycle
from tests.checkout import free_ports
from users.models import User

ARNS = [
    f"arn:aws:iam::123456789012:role/multi-region-app-{role}-runtime"
    for role in ("primary", "secondary")
]


def admin(sql: str) -> None:
    fetch("verified", sql)


@pytest.fixture(scope="module")
def schema(django_db_modify_db_settings: None, django_db_blocker: Any) -> Iterator[str]:
    """A prepared schema, seen by the alias ``verified``.

    Django's own tests allow no connection but the configured ones.
    """
    settings = copy.deepcopy(connections.databases["default"])
    connections.databases["verified"] = {**settings, "NAME": "postgres"}
    with django_db_blocker.unblock():
        creation = connections["verified"].creation
        name = creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
        said: list[str] = []
        assert prepare("verified", ARNS, said.append, verbosity=0) == len(said) == 6
        assert prepare("verified", ARNS, said.append, verbosity=0) == 0
        yield str(name)
        creation.destroy_test_db("postgres", verbosity=0)
        for arn in ARNS:
            admin(f"AWS IAM REVOKE {RUNTIME_ROLE} FROM '{arn}'")
        admin(f"DROP ROLE {RUNTIME_ROLE}")
        connections["verified"].close()
    del connections["verified"]
    del connections.databases["verified"]


@pytest.fixture(autouse=True)
def prepared(
    sandbox: lifecycle.Status,
    schema: str,
    django_db_blocker: Any,
    superuser: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """Whatever the outcome: nothing it wrote or opened is left."""
    superuser.execute(
        "DELETE FROM sandbox.jobs WHERE status = 'failed'"
    )  # other tests'
    monkeypatch.setitem(connections.databases["default"], "NAME", schema)
    with django_db_blocker.unblock():
        yield
        assert not [name for name in connections if "@" in name]
        assert not User.objects.using("verified").exists()


def report(*arguments: str, code: int = 0) -> dict[str, Any]:
    out = io.StringIO()
    options = ("--rounds", "2", "--format", "json", *arguments)
    if code:
        with pytest.raises(SystemExit) as ended:
            call_command("dsql_verify", *options, stdout=out, stderr=io.StringIO())
        assert ended.value.code == code
    else:
        call_command("dsql_verify", *options, stdout=out, stderr=io.StringIO())
    return dict(json.loads(out.getvalue()))


def outcomes(found: dict[str, Any]) -> dict[tuple[str, str], str]:
    return {(c["target"], c["name"]): c["outcome"] for c in found["checks"]}


def failures(found: dict[str, Any]) -> set[tuple[str, str, str]]:
    """The name, the reason and the hint of each failed check."""
    failed = (c for c in found["checks"] if c["outcome"] == "fail")
    return {(c["name"], c["reason"], c["hint"]) for c in failed}


def test_two_well_regions_are_proved_with_numbers() -> None:
    found = report()
    expected = {
        (region, name): "pass"
        for region in ("us-east-1", "us-east-2")
        for name in (*CONTROL, *DATA)
    } | {("both", name): "pass" for name in ACROSS}
    assert expected.items() <= outcomes(found).items()
    assert set(outcomes(found).values()) == {"pass", "skip"}
    assert found["ok"] is True
    reasons = {c["name"]: c["reason"] for c in found["checks"]}
    assert reasons["replication"].startswith("4 writes, each read in the other Region")
    assert "the other was repeated 1 time(s)" in reasons["conflict"]
    for kind in ("write", "read"):
        numbers = found["latency_ms"][kind]
        assert 0 < numbers["p50"] <= numbers["p95"]


def test_text_says_the_target_first_and_one_line_per_check() -> None:
    out = io.StringIO()
    call_command("dsql_verify", "--only", "login,rights", stdout=out, no_color=True)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("Target: the sandbox in ")
    assert [line.split()[:3] for line in lines[1:5]] == [
        ["pass", region, name]
        for region in ("us-east-1", "us-east-2")
        for name in ("login", "rights")
    ]
    assert lines[5] == "4 pass"


def test_a_way_out_that_leads_nowhere_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks_across, "find_failover_region", lambda *_: None)
    ((name, reason, hint),) = failures(report("--only", "failover", code=1))
    assert name == "failover"
    assert "was to be avoided, but it served" in reason
    assert "can be reached from here with the same role" in hint


def test_the_page_holds_every_check_and_loads_nothing(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    found = report("--html", str(page))
    text = page.read_text()
    for check in found["checks"]:
        assert f"<td>{check['name']}</td>" in text
    assert "<svg" in text
    assert "write: 4 calls" in text
    for outside in ("http://", "https://", "src=", "href=", "@import", "<script"):
        assert outside not in text
    with pytest.raises(CommandError, match="--html"):
        report("--html", str(tmp_path / "none" / "report.html"))


def test_an_endpoint_that_is_down_fails_both_logins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("PGPORT", str(free_ports(1)[0]))
        found = report(code=1)
    seen = outcomes(found)
    for region in ("us-east-1", "us-east-2"):
        assert seen[region, "login"] == "fail"
        assert seen[region, "rights"] == "skip"
    assert seen["both", "replication"] == "skip"
    for name, reason, hint in failures(found):
        assert name == "login"
        assert "connection refused" in reason.lower()
        assert hint == "Start the sandbox if it is down: manage.py sandbox up"


def test_an_unapplied_migration_is_named() -> None:
    rows = MigrationRecorder.Migration.objects.using("verified")
    applied = rows.get(app="users", name="0001_initial")
    rows.filter(pk=applied.pk).delete()
    try:
        found = report(code=1)
    finally:
        applied.save(using="verified", force_insert=True)
    assert failures(found) == {
        ("migrations", "Not applied: users.0001_initial.", "manage.py dsql_database")
    }
    assert outcomes(found)["both", "replication"] == "skip"


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
        found = report("--only", "indexes", code=1)
    hint = "Wait for its job (sys.jobs), or drop it and migrate again."
    assert failures(found) == {("indexes", "Not valid: users_user_newest.", hint)}


def test_a_failed_job_is_named(superuser: psycopg.Connection[Any]) -> None:
    superuser.execute(
        "INSERT INTO sandbox.jobs (job_id, status, details, job_type, start_time, update_time) "
        "VALUES ('a', 'failed', 'duplicate keys', 'INDEX_BUILD', now(), now())"
    )
    try:
        found = report("--only", "jobs", code=1)
    finally:
        superuser.execute("DELETE FROM sandbox.jobs WHERE job_id = 'a'")
    assert {name_reason[:2] for name_reason in failures(found)} == {
        ("jobs", "INDEX_BUILD a failed: duplicate keys.")
    }


@pytest.mark.parametrize(
    ("change", "back", "says"),
    [
        ("ALTER ROLE app CREATEROLE", "ALTER ROLE app NOCREATEROLE", "CREATEROLE"),
        (
            "GRANT TRUNCATE ON users_user TO app",
            "REVOKE TRUNCATE ON users_user FROM app",
            "too many rights: TRUNCATE on users_user.",
        ),
        (
            "GRANT CREATE ON SCHEMA {schema} TO app",
            "REVOKE CREATE ON SCHEMA {schema} FROM app",
            "too many rights: CREATE on schema {schema}.",
        ),
        (
            "REVOKE UPDATE, DELETE ON users_user FROM app",
            None,
            "app lacks UPDATE on users_user, DELETE on users_user.",
        ),
        ("ALTER ROLE app NOLOGIN", "ALTER ROLE app LOGIN", "app lacks LOGIN."),
    ],
)
def test_wrong_rights_of_the_runtime_role_are_named(
    schema: str, change: str, back: str | None, says: str
) -> None:
    name = schema.removeprefix("postgres.")
    admin(change.format(schema=name))
    try:
        found = report("--only", "rights", code=1)
    finally:
        if back is not None:
            admin(back.format(schema=name))
        prepare("verified", ARNS, lambda _: None, verbosity=0)
    for check, reason, _ in failures(found):
        assert check == "rights"
        assert says.format(schema=name) in reason
    assert outcomes(report("--only", "rights"))["us-east-1", "rights"] == "pass"


def test_a_missing_mapping_is_named_for_its_region() -> None:
    admin(f"AWS IAM REVOKE app FROM '{ARNS[1]}'")
    try:
        found = report("--only", "mapping", code=1)
    finally:
        prepare("verified", ARNS, lambda _: None, verbosity=0)
    assert outcomes(found) == {
        ("us-east-1", "mapping"): "pass",
        ("us-east-2", "mapping"): "fail",
    }
    ((_, reason, _),) = failures(found)
    assert reason == f"app is not granted to {ARNS[1]}."
    other = "arn:aws:iam::123456789012:role/other"
    found = report("--only", "mapping", "--role-arn", other, code=1)
    assert {reason for _, reason, _ in failures(found)} == {
        f"app is not granted to {other}."
    }


@pytest.mark.parametrize("catalog", ["pg_auth_members", "pg_roles", "sys.jobs"])
def test_what_the_database_refuses_to_show_is_a_warning(
    catalog: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(alias: str, sql: str, *params: Any) -> Any:
        return fetch(alias, sql.replace(catalog, f"{catalog}_refused"), *params)

    monkeypatch.setattr(checks_data, "fetch", refuse)
    found = report("--only", "rights,jobs")
    name = "jobs" if catalog == "sys.jobs" else "rights"
    assert {
        check["name"] for check in found["checks"] if check["outcome"] == "warn"
    } == {name}
    for check in found["checks"]:
        if check["outcome"] == "warn":
            assert f'"{catalog}_refused" does not exist' in check["reason"]
            assert check["hint"].startswith("Nothing is known to be wrong")
    assert found["ok"] is True


def test_excess_rights_are_named_though_memberships_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks_data, "MEMBERSHIPS", "SELECT %s FROM pg_no_members")
    admin("ALTER ROLE app CREATEROLE")
    try:
        found = report("--only", "rights", code=1)
    finally:
        admin("ALTER ROLE app NOCREATEROLE")
    assert "CREATEROLE" in next(iter(failures(found)))[1]


def test_remap_revokes_and_grants_each_mapping_again() -> None:
    said: list[str] = []
    assert prepare("verified", ARNS, said.append, remap=True, verbosity=0) == 4
    assert said == [
        f"AWS IAM {verb} '{arn}'"
        for arn in ARNS
        for verb in ('REVOKE "app" FROM', 'GRANT "app" TO')
    ]
    assert outcomes(report("--only", "mapping"))["us-east-2", "mapping"] == "pass"
    admin(f"AWS IAM REVOKE app FROM '{ARNS[0]}'")  # a remap that was cut in between
    assert prepare("verified", ARNS, said.append, verbosity=0) == 1
    assert said[-1] == f"AWS IAM GRANT \"app\" TO '{ARNS[0]}'"


def test_a_mapping_that_is_not_wanted_is_revoked_after_the_others_are_granted() -> None:
    other = "arn:aws:iam::123456789012:role/left-from-another-deployment"
    admin(f"AWS IAM GRANT app TO '{other}'")
    admin(f"AWS IAM REVOKE app FROM '{ARNS[0]}'")
    said: list[str] = []
    assert prepare("verified", ARNS, said.append, verbosity=0) == 2
    assert said == [
        f"AWS IAM GRANT \"app\" TO '{ARNS[0]}'",
        f"AWS IAM REVOKE \"app\" FROM '{other}'",
    ]
    mapped = "SELECT arn FROM sys.iam_pg_role_mappings WHERE pg_role_name = 'app'"
    assert {row[0] for row in fetch("verified", mapped)} == set(ARNS)
    assert prepare("verified", ARNS, said.append, verbosity=0) == 0


def test_a_stale_read_fails_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks_across, "_name", lambda *_: "before")
    found = report("--only", "replication", code=1)
    assert failures(found) == {
        ("replication", "4 of 4 reads missed the preceding write.", "")
    }


def test_a_lost_change_fails_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget_the_other(
        work: Callable[[], Any], *, using: str, **options: Any
    ) -> None:
        """The second Region's change does not happen."""
        if "us-east-1" in using:
            run_transaction(work, using=using, **options)

    monkeypatch.setattr(checks_across, "run_transaction", forget_the_other)
    found = report("--only", "conflict", code=1)
    assert failures(found) == {
        ("conflict", "Of two increments 1 happened: a change was lost.", "")
    }


def test_ctrl_c_leaves_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checks_across, "_name", interrupt)
    with pytest.raises(CommandError, match="Interrupted") as caught:
        report("--only", "replication")
    assert caught.value.returncode == 130


@pytest.mark.parametrize("only", ["", "login,nonsense"])
def test_an_unknown_check_is_refused_with_the_names(only: str) -> None:
    with pytest.raises(CommandError, match=r"no check is called .*; there are status"):
        call_command("dsql_verify", f"--only={only}")


@pytest.mark.parametrize("rounds", ["0", "-1", "ten", "10001", "1.5"])
def test_rounds_out_of_range_are_refused(rounds: str) -> None:
    with pytest.raises(CommandError, match="is not a whole number from 1 to 10000"):
        call_command("dsql_verify", f"--rounds={rounds}")
