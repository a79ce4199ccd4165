"""The sandbox does what the corpus expects, and what it does otherwise is found."""

import json
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ops.conformance import corpus
from ops.conformance.compare import compare
from ops.conformance.progress import parse_seen, read
from ops.conformance.sessions import Address
from ops.local.sandbox import lifecycle
from ops.paths import PROJECT
from tests.ops.conformance.conftest import Conform

SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname ~ '^conform'"


def assert_clean(address: Address) -> None:
    with address.connect() as connection:
        assert connection.execute(SCHEMAS).fetchall() == []
        roles = "SELECT rolname FROM pg_roles WHERE rolname ~ '^conform'"
        assert connection.execute(roles).fetchall() == []


def test_the_sandbox_agrees_in_the_simple_protocol(
    conform: Conform, address: Address
) -> None:
    output = json.loads(conform("--protocol", "simple", "--format", "json"))
    assert output["differences"] == []
    steps = output["agreement"]
    assert all(counts["agreed"] == counts["steps"] > 0 for counts in steps.values())
    assert_clean(address)


@pytest.mark.slow
def test_the_sandbox_agrees_in_both_protocols(conform: Conform) -> None:
    assert json.loads(conform("--format", "json"))["differences"] == []
    seen = read(conform.file)["seen"]
    cases = corpus.load().cases
    assert {name: set(by_protocol) for name, by_protocol in seen.items()} == {
        case.name: set(case.protocols) for case in cases
    }


def test_a_changed_rule_is_found(
    conform: Conform, superuser: psycopg.Connection[Any]
) -> None:
    version = "CREATE OR REPLACE FUNCTION sys.dsql_major_version() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT {}'"
    superuser.execute(version.format(2).encode())
    try:
        shown = conform("--protocol", "simple", "--case", "catalog", code=1)
    finally:
        superuser.execute(version.format(1).encode())
    assert "SELECT sys.dsql_major_version()" in shown
    assert "rows expected: (('1',),)" in shown
    assert "rows seen:     (('2',),)" in shown


def test_other_behaviour_is_found_by_the_questions_and_adopted(
    altered: lifecycle.Status, tmp_path: Path
) -> None:
    conform = Conform(tmp_path)
    output = json.loads(conform("--only", "assumptions", "--format", "json", code=1))
    files = {difference["file"] for difference in output["differences"]}
    # PL/pgSQL; COPY; NOWAIT; deferrable UNIQUE; characteristics; 255 columns
    assert files == {
        "functions", "loading", "queries", "questions", "settings", "tables",
    }  # fmt: skip
    assert all(difference["question"] for difference in output["differences"])

    patch = conform("--adopt", str(conform.file))
    changed = apply(patch, tmp_path / "checkout")
    observations = parse_seen(read(conform.file))
    cases = [case for case in changed.cases if case.name in observations]
    agreement = compare(cases, observations)
    assert agreement.differences == ()
    assert sum(agreement.total.values()) == agreement.total["recorded"] > 50
    assert {case.date for case in cases} == {read(conform.file)["started"]}
    # What was not asked stays as it was.
    kept = {case.name: case for case in corpus.load().cases}
    assert all(kept[c.name] == c for c in changed.cases if c.name not in observations)


def apply(patch: str, checkout: Path) -> corpus.Corpus:
    """The corpus with the patch, as ``git apply`` makes it."""
    directory = checkout / "ops/conformance/corpus"
    directory.mkdir(parents=True)
    for path in (PROJECT / "ops/conformance/corpus").iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
    subprocess.run(
        ["git", "apply", "-"],  # noqa: S607 - the git of this machine
        cwd=checkout,
        input=patch,
        text=True,
        check=True,
    )
    return corpus.load(directory)
