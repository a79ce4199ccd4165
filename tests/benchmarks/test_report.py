"""What the measurements' figures, goals and images say of given rounds."""

import signal
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.benchmarks import __main__ as program
from tests.benchmarks import pages, plot
from tests.benchmarks.figures import Figure, summarize
from tests.benchmarks.peers.events import CELLS
from tests.benchmarks.peers.function import Installed
from tests.benchmarks.peers.packages import OURS
from tests.benchmarks.peers.report import PHASES, Results, build_figures

NAMES = ("floor", OURS, "django-ninja", "FastAPI")
TIMES = {"floor": 1.0, OURS: 4.0, "django-ninja": 6.0, "FastAPI": 8.0}


def build_results() -> Results:
    """Two runs; in the second one everything takes twice as long, as on a busy machine."""
    results = Results(
        [Installed(name, Path(), "", Path(), 10 * 2**20) for name in NAMES],
        {name: dict.fromkeys(CELLS, 1) for name in NAMES},
    )
    for pace in (1, 2):
        results.warm.append(
            {n: dict.fromkeys(CELLS, [TIMES[n] * pace] * 3) for n in NAMES}
        )
        start = {
            name: dict.fromkeys(PHASES, TIMES[name] * pace)
            | {"rss": 60.0 * 2**20, "modules": 500}
            for name in NAMES
        }
        results.cold.append({name: [start[name]] * 2 for name in NAMES})
    return results


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    return {figure.name: figure for figure in build_figures(build_results())}


def test_a_ratio_is_taken_inside_its_round(figures: dict[str, Figure]) -> None:
    get = figures[f"GET: {OURS}"]
    assert (get.value, get.peer, get.ratio) == (6.0, 1.5, 4.0)
    assert get.note == "quartiles 4 to 4; runs 4 4"


def test_the_goals_of_the_table_are_judged(figures: dict[str, Figure]) -> None:
    judged = {name: figure.ok for name, figure in figures.items() if figure.goal}
    assert judged == {
        f"GET: {OURS}": True, f"list 50: {OURS}": False, f"POST: {OURS}": True,
        f"PATCH: {OURS}": True, f"cold CPU: {OURS}": False, f"RSS: {OURS}": True,
        f"zip: {OURS}": True, f"round trips: {OURS}": True,
        **{
            f"{cell}: {OURS} beside {other}": True
            for cell in ("GET", "list 50", "POST", "PATCH", "cold CPU")
            for other in ("django-ninja", "FastAPI")
        },
        f"RSS: {OURS} beside django-ninja": False,
        f"RSS: {OURS} beside FastAPI": False,
        f"zip: {OURS} beside django-ninja": True,
    }  # fmt: skip


def test_cold_starts_are_told_by_phase(figures: dict[str, Figure]) -> None:
    assert figures[f"cold CPU: {OURS}"].value == 18.0
    assert {phase: figures[f"cold, {phase}: {OURS}"].value for phase in PHASES} == {
        "init": 6.0, "first health": 6.0, "first GET": 6.0,
    }  # fmt: skip


def test_the_image_has_a_bar_for_each_peer_in_each_panel() -> None:
    image = ElementTree.fromstring(plot.draw(build_figures(build_results())))  # noqa: S314 - our own
    bars = [e for e in image.iter() if e.tag.endswith("rect")]
    ours = [bar for bar in bars if bar.get("class") == "bar ours"]
    assert (len(bars), len(ours)) == (len(plot.PANELS) * len(NAMES), len(plot.PANELS))
    widths = [float(bar.get("width") or 0) for bar in bars[: len(NAMES)]]
    assert widths[1] / widths[0] == pytest.approx(4.0, rel=0.02)


def test_a_missed_goal_is_named() -> None:
    met = Figure("quick", 1.0, "ms", at_most=2.0)
    missed = Figure("slow", 3.0, "ms", at_most=2.0)
    unjudged = Figure("other", 9.0, "ms")
    assert summarize([met, missed, unjudged]) == "1 of 2 goals are met; missed: slow"
    assert summarize([met, unjudged]) == "1 of 1 goals are met"


@pytest.mark.parametrize(("options", "status"), [([], 0), (["--check"], 1)])
def test_a_missed_goal_ends_with_an_error_only_where_it_is_checked(
    monkeypatch: pytest.MonkeyPatch, options: list[str], status: int
) -> None:
    missed = {"connect": [Figure("slow", 3.0, "ms", at_most=2.0)]}
    monkeypatch.setattr(program, "run", lambda *_, **__: missed)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "connect", *options])
    assert program.main() == status


def test_every_row_that_a_plan_reads_is_counted() -> None:
    scan = {
        "Node Type": "Index Scan", "Index Name": "newest", "Actual Rows": 51,
        "Actual Loops": 2, "Rows Removed by Filter": 3,
    }  # fmt: skip
    plan = {"Node Type": "Limit", "Plans": [{"Node Type": "Sort", "Plans": [scan]}]}
    assert list(pages.find_scans(plan)) == [scan]
    assert pages.count_rows(scan) == 108
