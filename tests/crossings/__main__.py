"""Count the calls that change the product file, and compare them with their limits.

``python -m tests.crossings`` starts a sandbox of its own and ends with 1 when a limit is
exceeded. ``--format json`` prints the counts, ``--pairs`` the files between them.
"""

import argparse
import json
import os
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import django

from ops.local.sandbox import lifecycle
from tests.crossings.counting import Pair, count_crossings

LIMITS = Path(__file__).with_name("limits.json")
PAIRS = 12


def measure() -> dict[str, Counter[Pair]]:
    from django.core.management import call_command

    with TemporaryDirectory() as directory:
        root = Path(directory)
        status = lifecycle.up(root, job_delay=0, durable=False)
        try:
            os.environ.update(status.environ())
            django.setup()
            from django.db import connection

            from tests.crossings.scenarios import SCENARIOS

            call_command("migrate", verbosity=0)
            found = {name: count_crossings(each) for name, each in SCENARIOS.items()}
            connection.close()
        finally:
            lifecycle.reset(root)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.add_argument("--pairs", action="store_true")
    options = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    os.environ["API_RATE_LIMIT"] = "600"  # as it is served; the tests' settings lift it
    limits = json.loads(LIMITS.read_text())
    found = measure()
    rows = {
        name: {"now": pairs.total(), **limits[name]} for name, pairs in found.items()
    }
    exceeded = [name for name, row in rows.items() if row["now"] > row["limit"]]
    if options.format == "json":
        print(json.dumps({"crossings": rows, "exceeded": exceeded}, indent=1))
        return bool(exceeded)
    print(f"{'':20}{'before':>8}{'now':>8}{'limit':>8}")
    for name, row in rows.items():
        mark = "  exceeded" if name in exceeded else ""
        print(f"{name:20}{row['before']:8}{row['now']:8}{row['limit']:8}{mark}")
        if options.pairs:
            for (caller, callee), times in found[name].most_common(PAIRS):
                print(f"{'':4}{times:4}  {caller} -> {callee}")
    return bool(exceeded)


if __name__ == "__main__":
    sys.exit(main())
