"""Expected against seen, and the changes to the corpus that follow."""

from pathlib import Path
from typing import Any

import pytest

from ops.conformance import corpus, report
from ops.conformance.adopt import build_patch
from ops.conformance.compare import compare, differing
from ops.conformance.corpus import Corpus, Step
from ops.conformance.run import fill
from ops.conformance.sessions import LOST, Seen

CASES: list[dict[str, Any]] = [
    {
        "name": "refused", "evidence": "assumed", "source": "no source",
        "date": "2026-11-28", "question": "Is it?",
        "steps": [
            {"sql": "MAYBE", "sqlstate": "0A000", "message": "no"},
            {"sql": "SELECT 1", "rows": [["1"]], "evidence": "documented"},
        ],
    },
    {
        "name": "known", "evidence": "recorded", "source": "cluster 16.15",
        "date": "2026-09-18", "steps": [{"sql": "SELECT 2", "tag": "SELECT 1"}],
    },
]  # fmt: skip
AS_EXPECTED = [Seen("0A000", "no"), Seen(tag="SELECT 1", rows=(("1",),))]
ACCEPTED = [Seen(tag="MAYBE"), Seen(tag="SELECT 1", rows=(("1",),))]
KNOWN = [Seen(tag="SELECT 1", rows=(("2",),))]


@pytest.fixture
def data(tmp_path: Path) -> Corpus:
    (tmp_path / "some.json").write_text(corpus.render(CASES))
    return corpus.load(tmp_path)


def seen(**by_case: dict[str, list[Seen]]) -> dict[str, Any]:
    """The content of a run's file."""
    found = {
        case: {p: [s.as_json() for s in steps] for p, steps in by_protocol.items()}
        for case, by_protocol in by_case.items()
    }
    return {"seen": found, "version": "16.15", "started": "2026-12-01"}


@pytest.mark.parametrize(
    ("step", "observed", "expected"),
    [
        (Step("a"), Seen(tag="SELECT 1"), []),
        (Step("a", tag="SELECT 1"), Seen(tag="SELECT 0"), ["tag"]),
        (Step("a", rows=(("1",),)), Seen(rows=(("2",),)), ["rows"]),
        (Step("a", rows=(("1",),)), Seen("42601", "no"), ["outcome"]),
        (Step("a", sqlstate="42601"), Seen("42601", "whatever"), []),
        (Step("a", sqlstate="42601", message="so"), Seen("42601", "no"), ["message"]),
        (Step("a", sqlstate="42601"), Seen(tag="SELECT 1"), ["outcome"]),
        # libpq reports a refused login without its SQLSTATE.
        (Step(login={}, sqlstate="08006", message="no"), Seen(LOST, "no"), []),
        (Step(login={}, sqlstate="08006"), Seen(tag="LOGIN"), ["outcome"]),
    ],
)
def test_only_what_is_expected_is_compared(
    step: Step, observed: Seen, expected: list[str]
) -> None:
    assert [name for name, _, _ in differing(step, observed)] == expected


def test_steps_are_counted_by_their_evidence(data: Corpus) -> None:
    found = compare(
        data.cases, {"refused": {"simple": ACCEPTED}, "known": {"simple": KNOWN}}
    )
    assert found.total == {
        "recorded": 1, "documented": 1, "reported": 0, "assumed": 1,
    }  # fmt: skip
    assert found.agreed["assumed"] == 0
    lines = list(report.render(found))
    assert lines[:2] == ["assumed some: refused, simple, step 1", "  MAYBE"]
    assert lines[2:4] == [
        "  outcome expected: 0A000 no",
        "  outcome seen:     success MAYBE",
    ]
    assert "recorded    1 of 1 steps agree (100.0%)" in lines


def test_a_case_that_was_cut_short_differs(data: Corpus) -> None:
    found = compare(data.cases, {"refused": {"simple": AS_EXPECTED[:1]}})
    assert [(d.number, d.seen) for d in found.differences] == [(2, "none")]


def patched(data: Corpus, fields: dict[str, Any]) -> list[str]:
    lines = [line for line in build_patch(data, fields) if line[:1] in "+-"]
    return [line for line in lines if not line.startswith(("+++", "---"))]


def test_what_was_seen_is_recorded_from_now_on(data: Corpus) -> None:
    both = {"simple": ACCEPTED, "extended": ACCEPTED}
    lines = patched(data, seen(refused=both, known={"simple": KNOWN}))
    (head,) = [line for line in lines if line.startswith("+ {")]
    assert (
        '"evidence": "recorded", "source": "cluster 16.15", "date": "2026-12-01"'
        in head
    )
    assert "question" not in head
    assert '+  {"sql": "MAYBE", "tag": "MAYBE"},' in lines
    # What agreed keeps its form, and loses the evidence of its own.
    assert '+  {"sql": "SELECT 1", "rows": [["1"]]}' in lines
    assert not any("SELECT 2" in line for line in lines)


def test_a_case_is_split_where_the_protocols_differ(data: Corpus) -> None:
    lines = patched(data, seen(refused={"simple": AS_EXPECTED, "extended": ACCEPTED}))
    heads = [line for line in lines if line.startswith("+ {")]
    assert [head.split('"')[3] for head in heads] == [
        "refused (simple)",
        "refused (extended)",
    ]
    assert '"protocols": ["extended"]' in heads[1]


def test_a_case_that_was_not_run_stays_as_it_is(data: Corpus) -> None:
    assert patched(data, seen()) == []
    assert patched(data, seen(refused={"simple": AS_EXPECTED[:1]})) == []


def test_names_of_the_run_are_filled_in_and_json_is_left_alone() -> None:
    names = {"schema": "s", "role": "r"}
    assert fill("GRANT ON {schema} TO {role}", names) == "GRANT ON s TO r"
    assert (
        fill("""SELECT '{"a": {}}', '{1,2}'""", names)
        == """SELECT '{"a": {}}', '{1,2}'"""
    )


def test_the_estimate_counts_jobs_and_both_protocols(data: Corpus) -> None:
    said = report.estimate(data.cases, ("simple", "extended"))
    assert said.startswith(
        "4 cases with 6 steps: at most 21 DPU, 0.0002 USD, about 1 min"
    )
