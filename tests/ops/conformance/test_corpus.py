"""The corpus is well formed, and what is wrong in it is named."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ops.conformance import corpus
from ops.conformance.corpus import DIRECTORY, EVIDENCE, FIXTURES, CorpusError

CASE: dict[str, Any] = {
    "name": "one", "evidence": "assumed", "source": "no source", "date": "2026-11-28",
    "steps": [{"sql": "SELECT 1"}],
}  # fmt: skip


def write(directory: Path, *cases: dict[str, Any]) -> Path:
    (directory / "some.json").write_text(corpus.render(cases))
    return directory


def test_the_corpus_has_cases_of_every_evidence_and_both_protocols() -> None:
    cases = corpus.load().cases
    assert {case.evidence for case in cases} == set(EVIDENCE)
    assert len(cases) > 120
    assert sum(len(case.steps) for case in cases) > 500
    assert sum("extended" in case.protocols for case in cases) > 120
    assert any(step.session == "b" for case in cases for step in case.steps)


def test_the_files_are_written_as_a_patch_writes_them() -> None:
    for path in DIRECTORY.glob("*.json"):
        if path.name != FIXTURES:
            assert path.read_text() == corpus.render(json.loads(path.read_text()))


def test_every_case_names_its_source_and_every_guess_its_question() -> None:
    cases = corpus.load().cases
    assert [case.name for case in cases if not case.source] == []
    guesses = [case for case in cases if case.evidence == "assumed"]
    assert [case.name for case in guesses if not case.question] == []


def test_the_questions_are_few_enough_for_two_minutes() -> None:
    cases = corpus.load().select(only="assumptions")
    assert 20 < len(cases) < 60
    jobs = Counter(step.job for case in cases for step in case.steps)
    assert jobs[True] <= 3  # an index takes half a minute


def test_cases_are_chosen_by_their_name_or_their_file() -> None:
    data = corpus.load()
    assert {c.file for c in data.select(only="all", names=["copying"])} == set()
    chosen = data.select(only="all", names=["conflicts", "cursors are refused"])
    assert {case.file for case in chosen} == {"conflicts", "refusals"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"evidence": "rumoured"}, "some.json: one: evidence 'rumoured' is none of"),
        ({"date": "yesterday"}, "some.json: one: Invalid isoformat string"),
        ({"color": "red"}, "some.json: one: unknown field 'color'"),
        ({"protocols": ["http"]}, "some.json: one: protocols are simple, extended"),
        ({"steps": [{"sql": "a", "login": {}}]}, "a step has either sql or login"),
        ({"steps": [{"sql": "a", "state": "1"}]}, "unknown field 'state' of a step"),
        ({"steps": [{"sql": "a", "session": "c"}]}, "sessions are 'a' and 'b'"),
    ],
)
def test_a_mistake_in_a_case_is_named(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(CorpusError, match=r"some\.json") as caught:
        corpus.load(write(tmp_path, CASE | change))
    assert message in str(caught.value)


def test_a_case_without_a_date_is_named(tmp_path: Path) -> None:
    undated = {key: value for key, value in CASE.items() if key != "date"}
    with pytest.raises(CorpusError, match=r"some\.json: one: no date"):
        corpus.load(write(tmp_path, undated))


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="two cases have the name 'one'"):
        corpus.load(write(tmp_path, CASE, CASE))


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "some.json").write_text("[")
    with pytest.raises(CorpusError, match="Expecting value"):
        corpus.load(tmp_path)
