"""An operator's way from nothing to nothing, in Regions other than the default."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.local.sandbox.state import State
from tests.checkout import Checkout

pytestmark = pytest.mark.e2e
REGIONS = {
    "PRIMARY_REGION": "eu-central-1",
    "SECONDARY_REGION": "eu-west-1",
    "WITNESS_REGION": "eu-west-3",
    "CLUSTER_NAME_PREFIX": "shop-eu",
}
UNCHANGED = "Nothing to change: the clusters are as configured."


def assert_runtime_role_only_reads_the_schema(
    root: Path, manage: Callable[..., str]
) -> None:
    """The function may read whether anything is to be migrated, and not migrate."""
    state = State.load(root / ".sandbox")
    assert state is not None
    runtime: dict[str, Any] = {
        "AWS_ACCESS_KEY_ID": state.keys[1].access_key,
        "AWS_SECRET_ACCESS_KEY": state.keys[1].secret_key,
        "DSQL_USER": "app",
    }
    assert "No migrations to apply." in manage("migrate", **runtime)
    (line,) = manage("migrate", "users", "zero", code=1, **runtime).strip().splitlines()
    assert line == (
        "CommandError: The database role app may not change the schema; run `manage.py "
        "dsql_database` with an operator's credentials instead."
    )


def test_from_nothing_to_nothing(checkout: Checkout) -> None:
    def manage(*arguments: str, code: int = 0, **environ: str) -> str:
        done = checkout.manage(*arguments, **REGIONS | environ)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    def advised(**environ: str) -> list[str]:
        error = manage("makemigrations", "--check", code=1, **environ)
        return re.findall(r"`manage\.py (.*?)`", error)

    up, *rest = advised(API_AUTH="none")  # as the sandbox sets it
    assert "none yet: manage.py dsql_provision" in manage(*up.split())
    (provision,) = advised()
    assert rest == [provision]
    assert "First: manage.py dsql_provision" in manage("dsql_database", code=1)
    assert "Ready. Next: manage.py dsql_database" in manage(provision)
    assert "No changes detected" in manage("makemigrations", "--check")
    assert UNCHANGED in manage("dsql_provision")
    said = manage("dsql_database")
    assert 'CREATE ROLE "app" WITH LOGIN' in said
    assert "role/shop-eu-secondary-runtime" in said
    assert "0 changed" in manage("dsql_database")

    report = json.loads(manage("dsql_verify", "--format", "json"))
    assert report["ok"] is True
    assert {check["target"] for check in report["checks"]} == {
        "eu-central-1", "eu-west-1", "both",
    }  # fmt: skip
    env = dict(
        line.split("=", 1) for line in manage("dsql_status", "--format", "env").split()
    )
    assert env["DSQL_ENDPOINT"].endswith(".dsql.eu-central-1.on.aws")
    assert (
        env.items()
        <= dict(
            line.partition("=")[::2]
            for line in (checkout.root / ".env").read_text().split()
        ).items()
    )

    assert_runtime_role_only_reads_the_schema(checkout.root, manage)
    token = manage("dsql_token", "--user", "app", "--role", "secondary").strip()
    assert "dsql.eu-west-1.on.aws/?Action=DbConnect&" in token
    policy = json.loads(manage("iam_policy", "runtime"))
    for arn in policy["Statement"][0]["Resource"]:
        assert arn.startswith("arn:aws:dsql:eu-")
        assert not arn.endswith("*")

    assert "--yes needs --prefix shop-eu" in manage("dsql_destroy", "--yes", code=1)
    assert "Nothing is left." in manage("dsql_destroy", "--yes", "--prefix", "shop-eu")
    assert "No cluster of 'shop-eu' exists" in manage("dsql_status")
    manage("dsql_provision")
    said = checkout.manage("dsql_verify", "--only", "migrations", **REGIONS).stdout
    assert "Not applied: api.0001_initial, " in said
    assert "users.0001_initial, users.0002" in said
