from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dotenv import dotenv_values

from ops.local import envfile
from ops.sandbox_status import Region, Status


@pytest.fixture
def status(tmp_path: Path) -> Status:
    regions = (
        Region("primary", "us-east-1", "a" * 26),
        Region("secondary", "us-east-2", "b" * 26),
    )
    keys = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "s"}
    return Status("running", regions, 20_001, tmp_path, keys, {})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_writes_what_selects_the_primary_and_only_the_owner_reads_it(
    path: Path, status: Status
) -> None:
    said = envfile.ensure(path, status)
    assert said == "Wrote .env: manage.py uses the sandbox from now on."
    assert path.stat().st_mode & 0o777 == 0o600
    values = dotenv_values(path)
    assert len(values.pop("DJANGO_SECRET_KEY") or "") >= 50
    assert values == {
        "DSQL_ENDPOINT": f"{'a' * 26}.dsql.us-east-1.on.aws",
        "DSQL_PEER_ENDPOINT": f"{'b' * 26}.dsql.us-east-2.on.aws",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIA",
        "AWS_SECRET_ACCESS_KEY": "s",
        "TARGET": "sandbox",
        "DSQL_SANDBOX": str(status.root),
        "AWS_ENDPOINT_URL_DSQL": "http://127.0.0.1:20001",
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": "20001",
        "PGSSLROOTCERT": str(status.sslrootcert),
        "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]",
        "API_AUTH": "none",
    }


def test_the_second_time_changes_nothing(path: Path, status: Status) -> None:
    envfile.ensure(path, status)
    before = path.read_bytes()
    assert envfile.ensure(path, status) == ".env points at this sandbox."
    assert path.read_bytes() == before


def test_a_foreign_file_is_left_alone(path: Path, status: Status) -> None:
    path.write_text("DSQL_ENDPOINT=mine\n")
    assert envfile.ensure(path, status) == (
        ".env names another target and was left alone. To use the sandbox: "
        "manage.py sandbox env > .env"
    )
    assert not envfile.remove(path)
    assert path.read_text() == "DSQL_ENDPOINT=mine\n"


@pytest.mark.parametrize(
    "change",
    [
        {"port": 20_002},
        {"credentials": {"AWS_ACCESS_KEY_ID": "AKIB", "AWS_SECRET_ACCESS_KEY": "s"}},
        {"root": Path("/moved")},
        {"regions": ()},
    ],
)
def test_a_file_that_names_an_earlier_sandbox_is_repaired(
    path: Path, status: Status, change: dict[str, Any]
) -> None:
    envfile.ensure(path, status)
    key = dotenv_values(path)["DJANGO_SECRET_KEY"]
    path.write_text(path.read_text() + "LOG_LEVEL=DEBUG\n")
    now = replace(status, **change)
    assert envfile.ensure(path, now).startswith("Repaired .env, which named another")
    values = dotenv_values(path)
    assert now.environ().items() <= values.items()
    assert (values["DJANGO_SECRET_KEY"], values["LOG_LEVEL"]) == (key, "DEBUG")
    assert envfile.ensure(path, now) == ".env points at this sandbox."


def test_removes_its_own_file_once(path: Path, status: Status) -> None:
    envfile.ensure(path, status)
    assert envfile.remove(path)
    assert not envfile.remove(path)


def test_the_secondary_sees_the_primary_as_its_peer(status: Status) -> None:
    environ = envfile.variables(status, "secondary")
    assert environ["AWS_REGION"] == "us-east-2"
    assert environ["DSQL_ENDPOINT"].startswith("bbb")
    assert environ["DSQL_PEER_ENDPOINT"].startswith("aaa")
