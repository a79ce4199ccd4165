"""The command around a run: it asks, goes on, cleans up and explains its failures."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from ops.conformance.progress import Progress, read
from ops.conformance.run import Runner
from ops.conformance.sessions import Address, Seen
from ops.local.sandbox import lifecycle
from ops.local.sandbox.fault_control import FaultClient
from tests.ops.conformance.conftest import Conform, address, conform
from tests.ops.conformance.test_agreement import assert_clean

__all__ = ["address", "conform"]  # fixtures

ONE = ("--case", "cursors are refused", "--protocol", "simple")
SOME = ("--case", "functions", "--protocol", "simple")


def test_it_says_what_it_costs_and_where_it_runs_before_it_asks(
    sandbox: lifecycle.Status, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    err, questions = io.StringIO(), []

    def answer(question: str) -> str:
        questions.append(err.getvalue())
        return "n"

    monkeypatch.setattr("builtins.input", answer)
    file = tmp_path / "seen.json"
    with pytest.raises(CommandError, match="Nothing was run; --yes does not ask"):
        call_command("dsql_conform", *ONE, "--output", str(file), stderr=err)
    assert len(questions) == 1
    assert f"Target: the sandbox in {sandbox.root}" in questions[0]
    assert "1 cases with 4 steps: at most" in questions[0]
    assert "USD" in questions[0]
    assert not file.exists()


def test_the_agreement_and_what_was_seen_are_written(conform: Conform) -> None:
    assert "reported    4 of 4 steps agree (100.0%)" in conform(*ONE)
    seen = read(conform.file)["seen"]["cursors are refused"]["simple"]
    assert seen[1] == {
        "sqlstate": "0A000", "message": "unsupported statement: DeclareCursor",
    }  # fmt: skip
    assert read(conform.file)["version"] == "16.15"
    assert "1/1 simple refusals: cursors are refused" in conform.progress


def test_a_cluster_that_wakes_up_is_waited_for_and_its_words_are_kept(
    conform: Conform, faults: FaultClient
) -> None:
    words = "unable to accept connection, waking up cluster, please retry later"
    faults.add("waking-up", times=2)
    conform(*ONE)
    assert read(conform.file)["first_login"]["refusals"] == [words, words]
    assert f"s. {words} {words}" in conform.progress


def test_a_refused_login_is_one_sentence(conform: Conform, faults: FaultClient) -> None:
    faults.add("too-many-connections")
    assert "too many open connections" in conform.fail(*ONE)


def test_json_is_all_of_standard_output(conform: Conform) -> None:
    output = json.loads(conform(*ONE, "--format", "json"))
    assert output["agreement"]["reported"] == {"agreed": 4, "steps": 4}
    assert output["differences"] == []


def test_an_interrupted_run_is_cleaned_up_and_continued(
    conform: Conform, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, ran = Runner._run_case, list[str]()

    def interrupted(self: Runner, case: Any, protocol: str) -> list[Seen]:
        if len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(case.name)
        return whole(self, case, protocol)

    with monkeypatch.context() as patch:
        patch.setattr(Runner, "_run_case", interrupted)
        assert conform.fail(*SOME) == "Interrupted."
    assert_clean(address)
    before = read(conform.file)
    assert len(before["seen"]) == 2

    conform(*SOME)
    assert len(read(conform.file)["seen"]) == 4
    assert read(conform.file)["schema"] == before["schema"]
    assert not any(name in conform.progress for name in before["seen"])
    conform(*SOME, "--fresh")
    assert all(name in conform.progress for name in before["seen"])


def test_the_schema_of_a_killed_run_is_removed_by_the_next(
    conform: Conform, address: Address
) -> None:
    conform(*ONE)
    schema = read(conform.file)["schema"]
    with address.connect() as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
        connection.execute(f"CREATE TABLE {schema}.item (id int)".encode())
    conform(*SOME)
    assert_clean(address)


def test_a_file_of_another_cluster_is_not_continued(conform: Conform) -> None:
    progress = Progress(conform.file, "another.dsql.us-east-1.on.aws", "digest")
    progress.save()
    assert "has what another.dsql.us-east-1.on.aws did" in conform.fail(*ONE)


def test_what_was_seen_of_another_corpus_is_forgotten(conform: Conform) -> None:
    conform(*ONE)
    fields = read(conform.file)
    conform.file.write_text(json.dumps(fields | {"corpus": "another"}))
    conform(*SOME)
    assert set(read(conform.file)["seen"]) != {"cursors are refused"}
    assert "cursors are refused" not in read(conform.file)["seen"]


@pytest.mark.parametrize(
    ("content", "message"),
    [("[", "cannot be read"), ("{}", "is not of dsql_conform: no corpus")],
)
def test_a_file_that_is_none_of_its_own_is_named(
    conform: Conform, content: str, message: str
) -> None:
    conform.file.write_text(content)
    assert message in conform.fail(*ONE)


def test_an_unknown_case_is_named(conform: Conform) -> None:
    assert conform.fail("--case", "nope") == "The corpus has no case or file nope."
