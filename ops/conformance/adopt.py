"""What a cluster was seen to do, as changes to the corpus: a patch to be reviewed."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from difflib import unified_diff
from typing import Any

from ops.conformance.compare import differing
from ops.conformance.corpus import Case, Corpus, Step, render
from ops.conformance.progress import parse_seen
from ops.conformance.sessions import LOST, Seen

DIRECTORY = "ops/conformance/corpus"


def build_patch(corpus: Corpus, fields: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a patch for ``git apply``: outcomes as seen, evidence ``recorded``.

    Where the protocols differ, a case is split: each part names its protocol.
    """
    seen = parse_seen(dict(fields))
    source = f"cluster {fields.get('version', '')}".strip()
    cases = {case.name: case for case in corpus.cases}
    for name, entries in corpus.raw.items():
        changed: list[dict[str, Any]] = []
        for entry in entries:
            observed = seen.get(entry["name"], {})
            changed += _adopt_case(
                cases[entry["name"]], entry, observed, source, fields["started"]
            )
        yield from _diff(f"{DIRECTORY}/{name}", render(entries), render(changed))


def _adopt_case(
    case: Case,
    entry: dict[str, Any],
    observed: Mapping[str, Sequence[Seen]],
    source: str,
    date: str,
) -> list[dict[str, Any]]:
    complete = {p: s for p, s in observed.items() if len(s) == len(case.steps)}
    agreeing = all(
        not differing(step, found)
        for steps in complete.values()
        for step, found in zip(case.steps, steps, strict=True)
    )
    evidence = {step.evidence or case.evidence for step in case.steps}
    if not complete or (agreeing and evidence == {"recorded"}):
        return [entry]
    adopted = {
        protocol: _adopt_steps(case, entry, steps)
        for protocol, steps in complete.items()
    }
    changed = {**entry, "evidence": "recorded", "source": source, "date": date}
    changed.pop("question", None)
    outcomes = list(adopted.values())
    if all(outcome == outcomes[0] for outcome in outcomes):
        return [{**changed, "steps": outcomes[0]}]
    return [
        {
            **changed,
            "name": f"{entry['name']} ({protocol})",
            "protocols": [protocol],
            "steps": steps,
        }
        for protocol, steps in adopted.items()
    ]


def _adopt_steps(
    case: Case, entry: Mapping[str, Any], observed: Sequence[Seen]
) -> list[dict[str, Any]]:
    steps = []
    for raw, step, seen in zip(entry["steps"], case.steps, observed, strict=True):
        changed = copy.deepcopy(raw)
        changed.pop("evidence", None)  # the case's, which is recorded now
        if differing(step, seen):
            for field in ("sqlstate", "message", "tag", "rows"):
                changed.pop(field, None)
            changed |= _outcome(step, seen)
        steps.append(changed)
    return steps


def _outcome(step: Step, seen: Seen) -> dict[str, Any]:
    """What is worth keeping: an error's words, and what the step compared before."""
    if seen.sqlstate:
        state = step.sqlstate or "08006" if step.login is not None else seen.sqlstate
        return {"sqlstate": LOST if state == LOST else state, "message": seen.message}
    kept: dict[str, Any] = {}
    if step.tag is not None or step.sqlstate:
        kept["tag"] = seen.tag
    if step.rows is not None:
        kept["rows"] = [list(row) for row in seen.rows]
    return kept


def _diff(path: str, before: str, after: str) -> Iterator[str]:
    yield from unified_diff(
        before.splitlines(), after.splitlines(), f"a/{path}", f"b/{path}", lineterm=""
    )
