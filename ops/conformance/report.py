"""The result of a run, for people and for programs; and what it costs."""

from collections.abc import Iterator, Sequence
from typing import Any

from ops.conformance.compare import Agreement
from ops.conformance.corpus import EVIDENCE, Case

# At most, by the documented formulas: a small write with its copy in the other Region
# (0.1), the smallest read, and a tenth of a second of computing; setup and cleaning up.
DPU_PER_STEP, DPU_PER_CASE, DPU_PER_RUN = 0.2, 0.5, 20.0
DOLLARS_PER_MILLION = 8.0  # us-east-1; other Regions cost up to a quarter more
SECONDS_PER_STEP, SECONDS_PER_CASE, SECONDS_PER_JOB = 0.05, 0.1, 30.0


def estimate(cases: Sequence[Case], protocols: Sequence[str]) -> str:
    """What a run takes on a cluster, said before it begins."""
    runs = [(case, p) for case in cases for p in protocols if p in case.protocols]
    steps = sum(len(case.steps) for case, _ in runs)
    setups = sum(len(case.setup) + len(case.cleanup) for case, _ in runs)
    jobs = sum(step.job for case, _ in runs for step in case.steps)
    dpu = DPU_PER_STEP * steps + DPU_PER_CASE * (setups + jobs) + DPU_PER_RUN
    seconds = SECONDS_PER_STEP * steps + SECONDS_PER_CASE * len(runs)
    seconds += SECONDS_PER_JOB * jobs + setups
    return (
        f"{len(runs)} cases with {steps} steps: at most {dpu:.0f} DPU, "
        f"{dpu * DOLLARS_PER_MILLION / 1e6:.4f} USD, about {max(1, round(seconds / 60))} min "
        f"on a cluster."
    )


def render(agreement: Agreement) -> Iterator[str]:
    """One line for each difference, then the agreement by evidence."""
    for found in agreement.differences:
        case, step = found.case, found.case.steps[found.number - 1]
        yield f"{case.evidence} {case.file}: {case.name}, {found.protocol}, step {found.number}"
        yield f"  {' '.join((step.sql or f'login {dict(step.login or {})}').split())[:160]}"
        yield f"  {found.field} expected: {found.expected}"
        yield f"  {found.field} seen:     {found.seen}"
    for evidence in EVIDENCE:
        if total := agreement.total[evidence]:
            agreed = agreement.agreed[evidence]
            yield f"{evidence:<11} {agreed} of {total} steps agree ({agreed / total:.1%})"


def as_json(agreement: Agreement) -> dict[str, Any]:
    return {
        "agreement": {
            evidence: {"agreed": agreement.agreed[evidence], "steps": total}
            for evidence, total in agreement.total.items()
        },
        "differences": [
            {
                "file": found.case.file,
                "case": found.case.name,
                "evidence": found.case.evidence,
                "question": found.case.question,
                "protocol": found.protocol,
                "step": found.number,
                "field": found.field,
                "expected": found.expected,
                "seen": found.seen,
            }
            for found in agreement.differences
        ],
    }
