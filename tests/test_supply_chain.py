"""What the project is made of is locked, watched, audited and listed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.deploy import sbom
from ops.paths import PROJECT

WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))
LOCKS = sorted((PROJECT / "requirements").glob("*.txt"))
PIN = re.compile(r"^([a-z0-9-]+)(?:\[[a-z,-]+\])?==(\S+)", re.MULTILINE)


def jobs(name: str) -> dict[str, Any]:
    text = (PROJECT / ".github" / "workflows" / name).read_text()
    found: dict[str, Any] = yaml.safe_load(text)["jobs"]
    return found


def versions(lock: Path) -> dict[str, str]:
    return dict(PIN.findall(lock.read_text()))


def test_the_workflows_and_dependabots_file_pass_their_linter() -> None:
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("zizmor"), "--offline", "--quiet"),
            *("--strict-collection", "--pedantic", "--collect=all", ".github"),
        ],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_every_job_ends_in_time_and_may_only_read(workflow: Path) -> None:
    assert all(job["timeout-minutes"] <= 90 for job in jobs(workflow.name).values())
    assert yaml.safe_load(workflow.read_text())["permissions"] == {"contents": "read"}


def test_the_whole_suite_has_ninety_minutes() -> None:
    assert jobs("ci.yml")["test"]["timeout-minutes"] == 90


def test_every_lock_is_audited_and_a_finding_fails_the_job(tmp_path: Path) -> None:
    """The step itself, with a stand-in that finds something in one lock."""
    step = jobs("audit.yml")["locks"]["steps"][-1]["run"]
    tool = tmp_path / "pip-audit"
    tool.write_text(
        '#!/bin/sh\necho "$@" >> "$SEEN"\n[ "$4" != requirements/dev.txt ]\n'
    )
    tool.chmod(0o755)
    seen = tmp_path / "seen.txt"
    done = subprocess.run(
        ["/bin/bash", "-e", "-c", step],
        cwd=PROJECT, check=False, capture_output=True,
        env={"PATH": f"{tmp_path}:{os.defpath}", "SEEN": str(seen)},
    )  # fmt: skip
    assert done.returncode == 1
    options = "--require-hashes --disable-pip --requirement"
    assert seen.read_text().splitlines() == [
        f"{options} requirements/{lock.name}" for lock in LOCKS
    ]


def test_locks_and_actions_are_watched_for_updates() -> None:
    watched = yaml.safe_load((PROJECT / ".github" / "dependabot.yml").read_text())
    assert {
        (update["package-ecosystem"], update["directory"])
        for update in watched["updates"]
    } == {("pip", "/requirements"), ("github-actions", "/")}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_pins_by_hash_and_names_no_index(lock: Path) -> None:
    text = lock.read_text()
    pins, hashes = len(PIN.findall(text)), len(re.findall(r"\\\n    --hash", text))
    assert pins > 0
    assert pins == len(re.findall(r"^\S", text, re.MULTILINE))
    assert hashes >= pins
    assert "://" not in text


def test_no_two_locks_contradict_each_other() -> None:
    seen: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, version in versions(lock).items():
            seen.setdefault(name, set()).add(version)
    assert {name: found for name, found in seen.items() if len(found) > 1} == {}


def test_the_bill_of_materials_names_what_lambda_gets_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    sbom.write(tmp_path / "sbom.json")
    found = json.loads((tmp_path / "sbom.json").read_text())
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    assert found["metadata"]["component"]["name"] == "multi-region-app"
    listed = {each["name"]: each["version"] for each in found["components"]}
    expected = versions(PROJECT / "requirements" / "runtime.txt")
    del expected["tzdata"]  # a dependency on Windows only
    del expected["typing-extensions"]  # not on the functions' Python
    assert listed == expected
    assert all(each["purl"].startswith("pkg:pypi/") for each in found["components"])
