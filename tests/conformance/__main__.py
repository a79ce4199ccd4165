"""``python -m tests.conformance check`` judges the list of statements; ``record`` writes it.

``check`` needs no database. ``record`` runs the product's commands against a sandbox of its
own (a minute) and lists what they send; ``evidence.json`` is then to be completed by hand.
The same statements, as they were sent, become a file of the corpus in ops/conformance.
"""

import json
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from ops.conformance.corpus import DIRECTORY, render
from tests.checkout import copied
from tests.conformance.composing import compose, keep_what_runs
from tests.conformance.evidence import (
    FOLDER,
    LABELS,
    listed,
    load_evidence,
    load_statements,
    problems,
)
from tests.conformance.sending import sent


def record() -> None:
    statements: dict[str, list[str]] = {}
    with TemporaryDirectory(prefix="evidence-") as folder:
        Path(folder).chmod(0o711)  # as root, PostgreSQL runs as another user below it
        checkout = copied(Path(folder) / "checkout")
        try:
            found = sent(checkout, statements)
        finally:
            checkout.end()
        _, evidence = load_evidence()
        entries = listed(found, evidence)
        labels = {entry["shape"]: entry["label"] for entry in entries}
        cases = compose(statements, labels, f"{datetime.now(UTC):%Y-%m-%d}")
        composed = keep_what_runs(cases, Path(folder) / "sandbox")
    lines = ",\n".join(f" {json.dumps(entry)}" for entry in entries)
    (FOLDER / "statements.json").write_text(f"[\n{lines}\n]\n")
    (DIRECTORY / "statements.json").write_text(render(composed))


def check() -> int:
    statements = load_statements()
    for problem in (found := problems(statements)):
        print(problem, file=sys.stderr)
    counts = Counter(entry["label"] for entry in statements)
    print(", ".join(f"{counts[label]} {label}" for label in LABELS if counts[label]))
    return 1 if found else 0


def main(arguments: list[str]) -> int:
    if arguments not in (["check"], ["record"]):
        print(__doc__, file=sys.stderr)
        return 2
    if arguments == ["record"]:
        record()
    return check()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
