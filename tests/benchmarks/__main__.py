"""Run all measurements or the named ones; with --check, exit 1 when a goal is missed."""

import argparse
import json
import os
import signal
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command

from ops.local.sandbox import lifecycle
from tests.benchmarks import plot
from tests.benchmarks.figures import Figure, summarize, table

MEASUREMENTS = (
    "connect", "deadline", "rss", "sandbox", "pages", "failover", "increments",
    "frameworks", "features",
)  # fmt: skip


def main() -> int:
    arguments = parse_arguments()
    # An exception, so that the sandbox is removed on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    measured = run(
        arguments.names or MEASUREMENTS,
        text=arguments.format == "text",
        quick=arguments.quick,
    )
    figures = [figure for each in measured.values() for figure in each]
    if arguments.format == "json":
        shown = {
            name: {
                "conditions": read_conditions(name),
                "figures": [figure.as_json() for figure in each],
            }
            for name, each in measured.items()
        }
        print(json.dumps(shown, indent=2))
    else:
        print(summarize(figures))
    if arguments.plot:
        arguments.plot.write_text(plot.draw(measured["frameworks"]))
    return int(arguments.check and any(figure.ok is False for figure in figures))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument(
        "names", nargs="*", metavar="name", help=", ".join(MEASUREMENTS)
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument(
        "--check", action="store_true", help="exit 1 when a goal is missed"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="few rounds of frameworks and features: whether they run, no figures",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="file", help="write frameworks as an SVG image"
    )
    arguments = parser.parse_args()
    names = set(arguments.names or MEASUREMENTS)
    if unknown := sorted(names - set(MEASUREMENTS)):
        parser.error(
            f"no measurement {unknown[0]!r}; there are {', '.join(MEASUREMENTS)}"
        )
    if arguments.plot and "frameworks" not in names:
        parser.error("--plot shows frameworks: name it as well")
    return arguments


def run(
    names: list[str] | tuple[str, ...], *, text: bool, quick: bool
) -> dict[str, list[Figure]]:
    """Measure on a sandbox of its own, which is gone afterwards."""
    measured = {}
    with tempfile.TemporaryDirectory() as directory:
        # Passable: as root, PostgreSQL runs as another user below it.
        Path(directory).chmod(0o711)
        root = Path(directory) / "sandbox"
        try:
            status = prepare(root)
            for name in names:
                print(f"measuring {name} ...", file=sys.stderr, flush=True)
                module = import_measurement(name)
                plan = (module.QUICK,) if quick and hasattr(module, "QUICK") else ()
                measured[name] = module.measure(status, *plan)
                if text:
                    show(name, measured[name])
        finally:
            lifecycle.reset(root)
    return measured


def show(name: str, figures: list[Figure]) -> None:
    shown = (f"\n{name}", read_conditions(name), table(figures), "\n")
    print("\n".join(filter(None, shown)), flush=True)


def import_measurement(name: str) -> Any:
    return import_module(f"tests.benchmarks.{name}")


def read_conditions(name: str) -> str:
    """Under which the figures were measured, where they need saying."""
    return str(getattr(import_measurement(name), "CONDITIONS", ""))


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
