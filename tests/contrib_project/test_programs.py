"""The project's programs, each a process of its own against the sandbox."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ops.local.sandbox.lifecycle import Status
from tests import chromium

pytestmark = pytest.mark.usefixtures("sandbox")
LINT = Path(sys.executable).with_name("dsql-lint")


def run(module: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.contrib_project.{module}", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_the_admin_works_after_migrating_from_zero() -> None:
    seen = run("browsing").split()
    assert seen[-1].endswith("/delete/")
    assert len(seen) == 7


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.skipif(
    not (chromium.BROWSER and chromium.DRIVER),
    reason="no Chromium with its driver: apt-get install chromium chromium-driver",
)
def test_a_person_administers_in_a_browser(tmp_path: Path) -> None:
    seen = run("browser", str(tmp_path)).split()
    assert seen[:2] == ["index", "added"]
    assert seen[-2:] == ["history", "gone"]
    assert {picture.stem for picture in tmp_path.iterdir()} == set(seen)


@pytest.mark.slow
def test_a_run_that_lost_its_connection_is_continued(sandbox: Status) -> None:
    found: dict[str, Any] = json.loads(
        run("cutting", str(sandbox.root), "sites", "demo", "--every", "40")
    )
    assert found["different"] == []
    assert found["cuts"] > 7


def test_a_run_that_was_killed_is_continued(sandbox: Status) -> None:
    found: dict[str, Any] = json.loads(
        run("cutting", str(sandbox.root), "sites", "demo", "--every", "90", "--kill")
    )
    assert found["different"] == []
    assert found["cuts"] > 1
    assert found["survived"] == 0


def test_columns_change_under_a_writer_without_a_wrong_row() -> None:
    found = json.loads(run("altering", "4000"))
    assert found["wrong rows"] == []
    assert found["wrong writes accepted"] == 0
    assert found["written meanwhile"] > 0
    assert len(found["windows"]) == 2


def test_every_statement_of_the_migrations_passes_the_linter(sandbox: Status) -> None:
    statements = json.loads(run("statements"))
    text = "".join(sql.rstrip(";").replace("%s", "NULL") + ";\n" for sql in statements)
    done = subprocess.run(
        [LINT, "--format", "json", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert json.loads(done.stdout)["summary"]["errors"] == 0, done.stdout[:3000]
    assert len(statements) > 250
