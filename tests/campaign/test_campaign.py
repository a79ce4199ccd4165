"""A short campaign, and proof that its audit sees what it is there to see."""

from pathlib import Path
from typing import Any

import pytest

from tests.campaign.ledger import DOMAIN, MADE, UNKNOWN, UNMADE, Ledger
from tests.campaign.regions import regions
from tests.campaign.run import MOST_SECONDS, Campaign


@pytest.mark.e2e
def test_nothing_acknowledged_is_lost_under_faults(tmp_path: Path) -> None:
    with regions(tmp_path / "sandbox") as served:
        report = Campaign(served, operations=150, seed=11).run()
    assert report.findings == [], "\n".join(report.lines())
    assert sum(report.outcomes.values()) == 150
    assert sum(report.ordered.values()) == 15
    # Which of them meet a request depends on the writers' pace.
    assert sum(report.struck.values()) > 0
    assert 0 < report.longest < MOST_SECONDS


def row(key: str, name: str, email: str | None = None) -> dict[str, Any]:
    return {"id": key, "name": name, "email": (email or name) + DOMAIN}


@pytest.fixture
def ledger() -> Ledger:
    """One user: created as a, then b made, c refused, d unknown; another unknown as x."""
    ledger = Ledger()
    user = ledger.opened("a", MADE, "1")
    for mark, outcome in (("b", MADE), ("c", UNMADE), ("d", UNKNOWN)):
        user.wrote(mark, outcome)
    ledger.opened("x", UNKNOWN, None)
    return ledger


@pytest.mark.parametrize(
    "rows", [[row("1", "b")], [row("1", "d")], [row("1", "b"), row("2", "x")]]
)
def test_the_audit_accepts_what_the_answers_allow(
    ledger: Ledger, rows: list[dict[str, Any]]
) -> None:
    assert ledger.audit(rows) == []


@pytest.mark.parametrize(
    ("rows", "finding"),
    [
        ([], "lost creation: 1"),
        ([row("1", "a")], "lost or unacknowledged write: 1 holds a"),
        ([row("1", "c")], "lost or unacknowledged write: 1 holds c"),
        ([row("1", "b", "d")], "half-written row: b beside d"),
        ([row("1", "b"), row("2", "y")], "row nobody was told of: y"),
    ],
)
def test_the_audit_finds_what_they_forbid(
    ledger: Ledger, rows: list[dict[str, Any]], finding: str
) -> None:
    assert finding in ledger.audit(rows)[0]
