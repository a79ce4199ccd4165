"""What a cluster was seen to do, against what the corpus expects of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ops.conformance.corpus import EVIDENCE, Case, Step
from ops.conformance.sessions import LOST, Seen

# By protocol, what was seen at each step of a case; a case that was cut short has fewer.
Observations = Mapping[str, Mapping[str, Sequence[Seen]]]


@dataclass(frozen=True, slots=True)
class Difference:
    """One step whose outcome is another than expected."""

    case: Case
    protocol: str
    number: int  # of the step, from 1
    field: str
    expected: str
    seen: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many steps agree, by evidence."""

    agreed: Mapping[str, int]
    total: Mapping[str, int]
    differences: tuple[Difference, ...]


def compare(cases: Sequence[Case], observations: Observations) -> Agreement:
    agreed, total = dict.fromkeys(EVIDENCE, 0), dict.fromkeys(EVIDENCE, 0)
    differences: list[Difference] = []
    for case in cases:
        for protocol, seen in observations.get(case.name, {}).items():
            found = list(_compare_case(case, protocol, seen))
            wrong = {difference.number for difference in found}
            for number, step in enumerate(case.steps, 1):
                total[step.evidence or case.evidence] += 1
                agreed[step.evidence or case.evidence] += number not in wrong
            differences += found
    return Agreement(agreed, total, tuple(differences))


def _compare_case(
    case: Case, protocol: str, observed: Sequence[Seen]
) -> list[Difference]:
    found = []
    for number, step in enumerate(case.steps, 1):
        if number > len(observed):
            missing = Difference(case, protocol, number, "step", "a response", "none")
            found.append(missing)
            continue
        found += [
            Difference(case, protocol, number, field, expected, seen)
            for field, expected, seen in differing(step, observed[number - 1])
        ]
    return found


def differing(step: Step, seen: Seen) -> list[tuple[str, str, str]]:
    """The fields of the outcome that differ: name, expected, seen."""
    expected = LOST if step.login is not None and step.sqlstate else step.sqlstate
    if expected != seen.sqlstate:
        wanted = f"{step.sqlstate or 'success'} {step.message or ''}".strip()
        got = f"{seen.sqlstate or 'success'} {seen.message or seen.tag}".strip()
        return [("outcome", wanted, got)]
    pairs = [
        ("message", step.message, seen.message),
        ("tag", step.tag, seen.tag),
        ("rows", step.rows, seen.rows),
    ]
    return [
        (name, str(expected), str(seen))
        for name, expected, seen in pairs
        if expected is not None and expected != seen
    ]
