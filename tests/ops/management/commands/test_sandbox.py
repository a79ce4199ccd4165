import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from dotenv import dotenv_values

from ops.local.sandbox import lifecycle
from ops.management.commands import sandbox as command

Say = Callable[..., str]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No sandbox yet, and a place for its ``.env``."""
    monkeypatch.setattr(command, "SANDBOX", tmp_path / ".sandbox")
    monkeypatch.setattr(command, "ENV_FILE", tmp_path / ".env")
    return tmp_path


@pytest.fixture
def started(
    folder: Path, sandbox: lifecycle.Status, monkeypatch: pytest.MonkeyPatch
) -> lifecycle.Status:
    monkeypatch.setattr(command, "SANDBOX", sandbox.root)
    return sandbox


def said(*arguments: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("sandbox", *arguments, stdout=out, no_color=True, **options)
    return out.getvalue()


def test_up_finds_it_running_and_writes_env_only_once(
    folder: Path, started: lifecycle.Status
) -> None:
    first = said("up")
    assert "Wrote .env: manage.py uses the sandbox from now on." in first
    assert f"listens    127.0.0.1:{started.port}" in first
    assert started.regions[1].endpoint in first
    content = (folder / ".env").read_bytes()
    assert ".env points at this sandbox." in said("up")
    assert (folder / ".env").read_bytes() == content


def test_json_is_all_that_goes_to_standard_output(started: lifecycle.Status) -> None:
    progress = io.StringIO()
    found = json.loads(said("up", "--format", "json", stderr=progress))
    assert "Starting the sandbox in" in progress.getvalue()
    assert found == json.loads(said("status", "--format", "json"))
    assert found == {
        "state": "running",
        "regions": [
            {"role": role, "region": region.region, "endpoint": region.endpoint}
            for role, region in zip(
                ("primary", "secondary"), started.regions, strict=True
            )
        ],
        "hostaddr": "127.0.0.1",
        "port": started.port,
        "sslrootcert": str(started.sslrootcert),
        "credentials": started.credentials,
        "data": str(lifecycle.data_directory(started)),
        "assume": [],
    }
    assert set(found["credentials"]) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


@pytest.mark.usefixtures("started")
def test_up_refuses_what_only_a_start_can_change() -> None:
    for wish in (["--durable"], ["--assume", "plpgsql", "--assume", "no-copy"]):
        with pytest.raises(CommandError, match=r"run `manage\.py sandbox down` first"):
            said("up", *wish)
    assert "assumes    nothing" in said("up", "--assume", "none")


@pytest.mark.parametrize("role", ["primary", "secondary"])
def test_env_prints_what_selects_a_region(started: lifecycle.Status, role: str) -> None:
    values = dotenv_values(stream=io.StringIO(said("env", "--role", role)))
    expected = started.environ(role)
    assert {name: values[name] for name in expected} == expected


def test_reset_asks_before_it_deletes(
    started: lifecycle.Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def refuse(prompt: str) -> str:
        asked.append(prompt)
        return ""

    monkeypatch.setattr("builtins.input", refuse)
    with pytest.raises(CommandError, match="Nothing was deleted"):
        said("reset")
    assert str(started.root) in asked[0]
    assert lifecycle.status(started.root).state == "running"


@pytest.mark.parametrize("stdin", [None, io.StringIO()])
def test_reset_deletes_nothing_where_nobody_can_answer(
    stdin: io.StringIO | None,
    started: lifecycle.Status,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", stdin)
    with pytest.raises(CommandError, match="Nothing was deleted"):
        said("reset")
    assert lifecycle.status(started.root).state == "running"


def test_without_a_sandbox_every_action_says_so(folder: Path) -> None:
    absent = json.loads(said("status", "--format", "json"))
    assert (absent["state"], absent["regions"]) == ("absent", [])
    assert said("status") == "state      absent\n"
    assert said("down") == "It was not running.\n"
    assert said("reset") == "There is no sandbox.\n"
    with pytest.raises(CommandError, match="run `manage\\.py sandbox up`"):
        said("env")


def test_a_corrupt_state_is_one_line_and_reset_repairs_it(folder: Path) -> None:
    (folder / ".sandbox").mkdir()
    (folder / ".sandbox" / "sandbox.json").write_text("{")
    for action in ("status", "up", "env"):
        with pytest.raises(CommandError) as caught:
            said(action)
        assert len(str(caught.value).splitlines()) == 1
        assert "run `manage.py sandbox reset`" in str(caught.value)
    assert said("reset", "--yes") == "Deleted the sandbox.\n"
    assert said("status") == "state      absent\n"
