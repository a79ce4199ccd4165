"""``python -m tests.conformance check`` judges the list of statements; ``record`` writes it.

``check`` needs no database. ``record`` runs the product's commands against a sandbox of its
own (a minute) and lists what they send; ``evidence.json`` is then to be completed by hand.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.checkout import copied
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
    with TemporaryDirectory(prefix="evidence-") as folder:
        checkout = copied(Path(folder) / "checkout")
        try:
            found = sent(checkout)
        finally:
            checkout.end()
    _, evidence = load_evidence()
    lines = ",\n".join(f" {json.dumps(entry)}" for entry in listed(found, evidence))
    (FOLDER / "statements.json").write_text(f"[\n{lines}\n]\n")


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
