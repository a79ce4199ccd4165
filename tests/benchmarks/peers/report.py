"""The figures and goals of a comparison: medians over all rounds, with their spread."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.benchmarks.figures import Figure
from tests.benchmarks.peers.events import CELLS
from tests.benchmarks.peers.function import Installed
from tests.benchmarks.peers.packages import OURS

FLOOR = "floor"
# By variant and cell, then one figure a round; by variant, then one start each.
Warm = dict[str, dict[str, list[float]]]
Cold = dict[str, list[dict[str, float]]]
Runs = list[list[float]]

PHASES = ("init", "first health", "first GET")
COLD = "cold CPU"
OF_FLOOR = {"GET": 4.0, "list 50": 1.5, "POST": 4.0, "PATCH": 4.5, COLD: 3.2}
MOST_RSS, MOST_ZIP = 65.0, 14.5  # MiB
AHEAD_OF = ("django-ninja", "FastAPI")
OF_OTHERS, OF_OTHERS_MEMORY = 0.8, 0.85


@dataclass(slots=True)
class Results:
    """``warm`` and ``cold`` hold one entry for each run."""

    peers: Sequence[Installed]
    trips: dict[str, dict[str, int]]
    warm: list[Warm] = field(default_factory=list)
    cold: list[Cold] = field(default_factory=list)

    def rounds(self, name: str, cell: str) -> Runs:
        if cell == COLD:
            return [[sum_phases(start) for start in run[name]] for run in self.cold]
        return [run[name][cell] for run in self.warm]

    def median_cold(self, name: str, what: str) -> float:
        return statistics.median(
            start[what] for run in self.cold for start in run[name]
        )


def sum_phases(start: dict[str, float]) -> float:
    return sum(start[phase] for phase in PHASES)


def build_figures(results: Results) -> list[Figure]:
    return [
        *_cells(results),
        *_cold_starts(results),
        *_sizes(results),
        *_round_trips(results),
        *_beside_others(results),
    ]


def _cells(results: Results) -> Iterator[Figure]:
    for cell in (*CELLS, COLD):
        for name in results.trips:
            # The floor spends microseconds on its health: no measure for others.
            if name == FLOOR or cell == "health":
                runs = results.rounds(name, cell)
                yield Figure(f"{cell}: {name}", median(runs), "ms", note=spread(runs))
            else:
                goal = OF_FLOOR.get(cell) if name == OURS else None
                yield compare(results, cell, name, FLOOR, goal, f"{cell}: {name}")


def _cold_starts(results: Results) -> Iterator[Figure]:
    for phase in PHASES:
        for name in results.trips:
            spent = results.median_cold(name, phase)
            yield Figure(f"cold, {phase}: {name}", spent, "ms")


def _sizes(results: Results) -> Iterator[Figure]:
    for name in results.trips:
        modules = results.median_cold(name, "modules")
        yield Figure(
            f"RSS: {name}", results.median_cold(name, "rss") / 2**20, "MiB",
            at_most=MOST_RSS if name == OURS else None, note=f"{modules:.0f} modules",
        )  # fmt: skip
    for peer in results.peers:
        goal = MOST_ZIP if peer.name == OURS else None
        yield Figure(f"zip: {peer.name}", peer.zipped / 2**20, "MiB", at_most=goal)


def _round_trips(results: Results) -> Iterator[Figure]:
    for name, trips in results.trips.items():
        each = ", ".join(f"{cell} {count}" for cell, count in trips.items())
        goal = 1.0 if name == OURS else None
        most = max(trips.values())
        yield Figure(f"round trips: {name}", most, "at most", at_most=goal, note=each)


def _beside_others(results: Results) -> Iterator[Figure]:
    sizes = {peer.name: peer.zipped / 2**20 for peer in results.peers}
    for other in AHEAD_OF:
        for cell in OF_FLOOR:
            label = f"{cell}: {OURS} beside {other}"
            yield compare(results, cell, OURS, other, OF_OTHERS, label)
        own, its = (results.median_cold(n, "rss") / 2**20 for n in (OURS, other))
        yield Figure(
            f"RSS: {OURS} beside {other}", own, "MiB", peer=its, ratio=own / its,
            at_most=OF_OTHERS_MEMORY,
        )  # fmt: skip
    own, its = sizes[OURS], sizes[AHEAD_OF[0]]
    yield Figure(
        f"zip: {OURS} beside {AHEAD_OF[0]}", own, "MiB", peer=its, ratio=own / its,
        at_most=1.0,
    )  # fmt: skip


def compare(
    results: Results, cell: str, name: str, other: str, goal: float | None, label: str
) -> Figure:
    """The median of both, and of the ratio of each round."""
    own, its = results.rounds(name, cell), results.rounds(other, cell)
    ratios = [
        [mine / theirs for mine, theirs in zip(*run, strict=True)]
        for run in zip(own, its, strict=True)
    ]
    return Figure(
        label, median(own), "ms", peer=median(its), ratio=median(ratios),
        at_most=goal, note=spread(ratios),
    )  # fmt: skip


def median(runs: Runs) -> float:
    return statistics.median(value for run in runs for value in run)


def spread(runs: Runs) -> str:
    """The quartiles of all rounds, and the median of each run."""
    values = [value for run in runs for value in run]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    each = " ".join(f"{statistics.median(run):.3g}" for run in runs)
    return f"quartiles {low:.3g} to {high:.3g}; runs {each}"
