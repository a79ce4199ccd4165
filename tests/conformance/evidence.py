"""How each statement shape is known to run on DSQL.

``evidence.json`` is written by hand: for each part of a statement (a clause, a function, a
catalog, a type) a label and its source. ``statements.json`` is the list of the shapes that
the product sends; a shape is known as well as the least known of its parts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.local.sandbox.rules.shapes import parts

FOLDER = Path(__file__).parent
# Executed on a cluster and written down; stated by AWS; told by others who ran it.
LABELS = ("recorded", "documented", "reported", "none")
Evidence = Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Judgment:
    label: str
    sources: tuple[str, ...]  # of the least known parts
    unknown: tuple[str, ...]  # parts that evidence.json does not name


def load_evidence() -> tuple[dict[str, str], Evidence]:
    """The sources, and each part's label and source."""
    found = json.loads((FOLDER / "evidence.json").read_text())
    return found["sources"], {k: (v[0], v[1]) for k, v in found["parts"].items()}


def load_statements() -> list[dict[str, Any]]:
    return list(json.loads((FOLDER / "statements.json").read_text()))


def judge(shape: str, evidence: Evidence) -> Judgment:
    needed = parts(shape)
    unknown = tuple(sorted(needed - evidence.keys()))
    known = [evidence[part] for part in needed & evidence.keys()]
    if unknown or not known:
        return Judgment("none", (), unknown)
    label = max((label for label, _ in known), key=LABELS.index)
    sources = {source for each, source in known if each == label}
    return Judgment(label, tuple(sorted(sources)), ())


def listed(
    sent: Mapping[str, Sequence[str]], evidence: Evidence
) -> list[dict[str, Any]]:
    """The content of statements.json for what each command has sent."""
    by_shape: dict[str, list[str]] = {}
    for command, shapes in sent.items():
        for shape in shapes:
            by_shape.setdefault(shape, []).append(command)
    entries = []
    for shape, commands in by_shape.items():
        judgment = judge(shape, evidence)
        entries.append({
            "label": judgment.label, "sources": list(judgment.sources), "shape": shape,
            "sent_by": commands,
        })  # fmt: skip
    return sorted(entries, key=lambda e: (LABELS.index(e["label"]), e["shape"]))


def problems(statements: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with the list, a line each; nothing when each entry is justified."""
    sources, evidence = load_evidence()
    found = [
        f"evidence.json: {part}: {label!r} from {source!r}"
        for part, (label, source) in evidence.items()
        if label not in LABELS or source not in sources
    ]
    for entry in statements:
        shape = entry["shape"]
        judged = judge(shape, evidence)
        if judged.unknown:
            found.append(f"without evidence: {', '.join(judged.unknown)}: {shape}")
        elif (entry.get("label"), entry.get("sources")) != (
            judged.label,
            list(judged.sources),
        ):
            found.append(
                f"labelled {entry.get('label')!r} from {entry.get('sources')}, but its parts "
                f"are {judged.label!r} from {list(judged.sources)}: {shape}"
            )
    return found
