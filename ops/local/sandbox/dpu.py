"""The estimate of DPUs below EXPLAIN ANALYZE VERBOSE, by the documented formulas."""

import re
from collections.abc import Iterator, Sequence

COMPUTE_PER_SECOND = 1.0
READ_PER_BYTE, READ_MIN_BYTES, READ_MIN = 0.00000183105, 2048, 0.00375
WRITE_PER_BYTE, WRITE_MIN_BYTES, WRITE_MIN = 0.00004883, 1024, 0.05
MIN_ENTRY = 128  # bytes of a row or an index entry that is written
NODE = re.compile(
    r"^\s*(?:->\s+)?(?P<name>[A-Z][\w ]*?)(?: on .*?| using .*?)?\s+"
    r"\(cost=\S+ rows=\d+ width=(?P<width>\d+)\) "
    r"\(actual .*?rows=(?P<rows>[\d.]+) loops=(?P<loops>\d+)\)"
)
TIME = re.compile(r"^(?:Planning|Execution) Time: ([\d.]+) ms")
CHANGES = ("Insert", "Update", "Delete")


def estimate(plan: Sequence[str]) -> list[str]:
    """The lines that follow a plan in text."""
    seconds = sum(float(found[1]) for found in map(TIME.match, plan) if found) / 1000
    compute = seconds * COMPUTE_PER_SECOND
    read = max(
        max(_scanned(plan), READ_MIN_BYTES) * READ_PER_BYTE,
        READ_MIN,
    )
    entries = list(_written(plan))
    lines = [("Compute", compute), ("Read", read), ("Write", 0.0)]
    if entries:
        size = max(
            sum(max(entry, MIN_ENTRY) * n for entry, n in entries), WRITE_MIN_BYTES
        )
        write = max(size * WRITE_PER_BYTE, WRITE_MIN)
        lines[-1:] = [("Write", write), ("MultiRegionWrite", write)]
    lines.append(("Total", sum(value for _, value in lines)))
    return [
        "Statement DPU Estimate:",
        *(f"  {name}: {value:.5f} DPU" for name, value in lines),
    ]


def _nodes(plan: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Each node's name, the width of its rows, and how many there were."""
    for line in plan:
        if found := NODE.match(line):
            count = float(found["rows"]) * int(found["loops"])
            yield found["name"], int(found["width"]), round(count)


def _scanned(plan: Sequence[str]) -> int:
    return sum(width * count for name, width, count in _nodes(plan) if "Scan" in name)


def _written(plan: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Size and number of the rows that go into each node that changes a table."""
    nodes = list(_nodes(plan))
    for at, (name, _, _) in enumerate(nodes[:-1]):
        if name.startswith(CHANGES):
            yield nodes[at + 1][1:]
