"""Run all measurements or the named ones; exit code 1 when a goal is missed."""

import argparse
import json
import os
import signal
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import django
from django.core.management import call_command

from ops.local.sandbox import lifecycle
from tests.benchmarks.figures import Figure, table

MEASUREMENTS = (
    "connect", "deadline", "rss", "sandbox", "pages", "failover", "increments", "coldstart",
    "frameworks",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument(
        "names", nargs="*", metavar="name", help=", ".join(MEASUREMENTS)
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(MEASUREMENTS)):
        parser.error(
            f"no measurement {unknown[0]!r}; there are {', '.join(MEASUREMENTS)}"
        )
    text = arguments.format == "text"
    # An exception, so that the sandbox is removed on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    found = run(arguments.names or MEASUREMENTS, text=text)
    if not text:
        shown = {
            name: [f.as_json() for f in figures] for name, figures in found.items()
        }
        print(json.dumps(shown, indent=2))
    missed = [f for figures in found.values() for f in figures if f.ok is False]
    return 1 if missed else 0


def run(names: list[str] | tuple[str, ...], *, text: bool) -> dict[str, list[Figure]]:
    """Measure on a sandbox of its own, which is gone afterwards."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        # Passable: as root, PostgreSQL runs as another user below it.
        Path(folder).chmod(0o711)
        root = Path(folder) / "sandbox"
        try:
            status = prepare(root)
            for name in names:
                print(f"measuring {name} ...", file=sys.stderr, flush=True)
                found[name] = import_module(f"tests.benchmarks.{name}").measure(status)
                if text:
                    print(f"\n{name}\n{table(found[name])}\n", flush=True)
        finally:
            lifecycle.reset(root)
    return found


def prepare(root: Path) -> lifecycle.Status:
    """A running, migrated sandbox with Django pointed at its primary Region."""
    status = lifecycle.up(root, durable=False)  # no disk is measured
    os.environ.update(status.environ())
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    call_command("migrate", verbosity=0)
    return status


if __name__ == "__main__":
    sys.exit(main())
