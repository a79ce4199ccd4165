"""Every statement that the product sends is listed, with how it is known to run on DSQL."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.conformance import corpus
from ops.local.sandbox.rules.shapes import parts, shapes
from tests.checkout import Checkout
from tests.conformance.composing import covered
from tests.conformance.evidence import (
    LABELS,
    Judgment,
    judge,
    listed,
    load_evidence,
    load_statements,
    problems,
)
from tests.conformance.sending import sent
from tests.golden.replay import load

GOLDEN = os.environ.get("DSQL_GOLDEN_DIR", "")
NEW = "List and label it: python -m tests.conformance record"


def test_no_statement_is_without_evidence() -> None:
    statements = load_statements()
    assert problems(statements) == []
    assert {entry["label"] for entry in statements} <= set(LABELS) - {"none"}
    assert len(statements) > 150


def test_every_listed_statement_is_in_the_corpus() -> None:
    known = covered(corpus.load().cases)
    missing = [e["shape"] for e in load_statements() if e["shape"] not in known]
    assert missing == [], NEW


def test_no_statement_is_sent_that_is_not_listed(checkout: Checkout) -> None:
    known = {entry["shape"] for entry in load_statements()}
    found = sent(checkout)
    unlisted = {
        shape: command
        for command, shapes_sent in found.items()
        for shape in shapes_sent
        if shape not in known
    }
    assert unlisted == {}, NEW
    # The mechanism works: what was listed from these commands was seen again.
    assert len(set().union(*found.values())) > 150


def test_a_shape_is_known_as_well_as_the_least_known_of_its_parts() -> None:
    evidence = {
        "SelectStmt": ("recorded", "cluster"),
        "FuncCall": ("recorded", "cluster"),
        "function lower": ("documented", "guide"),
        "function upper": ("reported", "someone"),
    }
    assert judge("SELECT lower('?')", evidence) == Judgment(
        "documented", ("guide",), ()
    )
    assert judge("SELECT lower('?'), upper('?')", evidence) == Judgment(
        "reported", ("someone",), ()
    )
    found = judge("SELECT to_regclass('?')", evidence)
    assert found == Judgment("none", (), ("function to_regclass",))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"label": "recorded"}, "labelled 'recorded' from "),
        ({"label": None}, "labelled None from "),
        ({"sources": []}, "labelled 'reported' from [], but "),
        (
            {"shape": "SELECT has_table_privilege('?', '?')"},
            "without evidence: function has_",
        ),
        ({"shape": "SELECT '?'::regclass"}, "without evidence: cast to regclass"),
        (
            {"shape": "SELECT 0 FROM pg_sequences"},
            "without evidence: catalog pg_sequences",
        ),
        ({"shape": "LOCK TABLE t"}, "without evidence: LockStmt"),
    ],
)
def test_an_entry_that_its_parts_do_not_justify_fails(
    change: dict[str, object], says: str
) -> None:
    _, evidence = load_evidence()
    entry = listed({"a": ["SELECT pg_get_indexdef(oid) FROM pg_class"]}, evidence)[0]
    assert problems([entry]) == []
    (found,) = problems([{**entry, **change}])
    assert found.startswith(says)


def recorded_statements(folder: Path) -> Iterator[str]:
    """What the cluster of the recordings executed without an error."""
    setup, cases = load(folder)
    yield from (*setup["setup"], *setup["verify"])
    for case in cases.values():
        for sql, seen in zip(
            case.get("steps") or (), case.get("observations") or (), strict=False
        ):
            if seen["outcome"] == "ok":
                yield sql


@pytest.mark.skipif(not GOLDEN, reason="DSQL_GOLDEN_DIR names no recordings")
def test_what_is_called_recorded_was_executed_by_the_recorded_cluster() -> None:
    _, evidence = load_evidence()
    claimed = {part for part, (label, _) in evidence.items() if label == "recorded"}
    seen: set[str] = set()
    for sql in recorded_statements(Path(GOLDEN)):
        for shape in shapes(sql):
            seen |= parts(shape)
    assert claimed - seen == set()


def test_the_list_is_in_order_and_without_duplicates() -> None:
    statements = load_statements()
    order = [(LABELS.index(entry["label"]), entry["shape"]) for entry in statements]
    assert order == sorted(set(order))
