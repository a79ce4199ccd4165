"""A measured figure, its goal, and how alternating rounds become one."""

import gc
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Rounds = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a table: a goal bounds the ratio, or without a peer the value."""

    name: str
    value: float
    unit: str
    peer: float | None = None
    ratio: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def ok(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        judged = self.value if self.ratio is None else self.ratio
        if self.at_most is not None:
            return judged <= self.at_most
        return None if self.at_least is None else judged >= self.at_least

    @property
    def goal(self) -> str:
        unit = f" {self.unit}" if self.ratio is None else "x"
        if self.at_most is not None:
            return f"<= {self.at_most:g}{unit}"
        return "" if self.at_least is None else f">= {self.at_least:g}{unit}"

    @property
    def verdict(self) -> str:
        return {None: "", True: "ok", False: "missed"}[self.ok]

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "peer": None if self.peer is None else round(self.peer, 4),
            "ratio": None if self.ratio is None else round(self.ratio, 3),
            "goal": self.goal,
            "ok": self.ok,
            "note": self.note,
        }


def alternate(
    subjects: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    calls: int,
    clock: Callable[[], float],
) -> Rounds:
    """Milliseconds per call of each subject, one figure a round.

    Subjects take turns call by call, so that whatever else the machine does falls on
    all of them alike; the first round warms up and is dropped.
    """
    taken: Rounds = {name: [] for name in subjects}
    for _ in range(rounds + 1):
        spent = dict.fromkeys(subjects, 0.0)
        gc.collect()
        for _ in range(calls):
            for name, subject in subjects.items():
                before = clock()
                subject()
                spent[name] += clock() - before
        for name, seconds in spent.items():
            taken[name].append(seconds * 1000 / calls)
    return {name: values[1:] for name, values in taken.items()}


def compare(taken: Rounds, name: str, peer: str, *, at_most: float) -> Figure:
    """The medians of both and the median of the ratios of each round."""
    ratios = [own / other for own, other in zip(taken[name], taken[peer], strict=True)]
    return Figure(
        name,
        statistics.median(taken[name]),
        "ms",
        peer=statistics.median(taken[peer]),
        ratio=statistics.median(ratios),
        at_most=at_most,
        note=f"peer: {peer}",
    )


def summarize(figures: list[Figure]) -> str:
    """How many goals there are and are met, and the name of each that is missed."""
    judged = [figure for figure in figures if figure.ok is not None]
    missed = [figure.name for figure in judged if not figure.ok]
    met = f"{len(judged) - len(missed)} of {len(judged)} goals are met"
    return f"{met}; missed: {'; '.join(missed)}" if missed else met


def table(figures: list[Figure]) -> str:
    heads = ("figure", "value", "peer", "ratio", "goal", "", "note")
    lines = [heads, *(_cells(figure) for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at in (1, 2, 3) else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _cells(figure: Figure) -> tuple[str, ...]:
    return (
        figure.name,
        f"{figure.value:,.2f} {figure.unit}",
        "" if figure.peer is None else f"{figure.peer:,.2f} {figure.unit}",
        "" if figure.ratio is None else f"{figure.ratio:.2f}x",
        figure.goal,
        figure.verdict,
        figure.note,
    )
