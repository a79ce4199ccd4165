"""Try popular Django apps on config.dsql and on plain PostgreSQL; print a table.

``python -m tests.apps [name ...]``: each is migrated from zero, used a little, migrated
back to zero and forwards again. Logs stay in ``.cache/apps``. Exit code 1 when a step that
PostgreSQL passes fails on DSQL and is not named in ``KNOWN``, or is and passes.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from ops.local.sandbox import lifecycle
from ops.local.sandbox.postgres import SUPERUSER, Postgres
from ops.paths import PROJECT
from tests.apps.catalog import APPS, STEPS
from tests.apps.known import KNOWN

CACHE = PROJECT / ".cache" / "apps"
ENGINES = ("dsql", "postgresql")
Outcome = dict[
    str, str
]  # a step's error, empty when it passed; no entry: it did not run


@contextmanager
def databases(root: Path) -> Iterator[tuple[lifecycle.Status, Postgres]]:
    status = lifecycle.up(root / "sandbox", durable=False)
    postgres = Postgres(root / "postgresql")
    try:
        postgres.start()
        yield status, postgres
    finally:
        postgres.stop()
        lifecycle.reset(root / "sandbox")


def fresh(
    engine: str, number: int, status: lifecycle.Status, postgres: Postgres
) -> dict[str, object]:
    """The settings of an empty database, or of an empty schema of DSQL's only one."""
    name = f"app_{number}"
    if engine == "postgresql":
        with psycopg.connect(
            host=str(postgres.socket),
            user=SUPERUSER,
            dbname="postgres",
            autocommit=True,
        ) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name}")
            connection.execute(f"CREATE DATABASE {name}")
        return {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": str(postgres.socket),
            "USER": SUPERUSER,
            "NAME": name,
        }
    return {
        "ENGINE": "config.dsql",
        "HOST": status.regions[0].endpoint,
        "NAME": "postgres.apps",  # DSQL takes ten schemas
    }


def trial(
    name: str, database: dict[str, object], environ: dict[str, str], log: Path
) -> Outcome:
    """Each step's error."""
    with log.open("w") as errors:
        process = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "tests.apps.trial"],
            cwd=PROJECT,
            env={
                **os.environ, **environ,
                "APP": name, "DATABASE": json.dumps(database), "MEDIA": str(CACHE / "media"),
                "DJANGO_SETTINGS_MODULE": "tests.apps.settings",
            },
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=False,
        )  # fmt: skip
    outcome = {}
    for line in process.stdout.splitlines():
        if line.startswith('{"step"'):
            found = json.loads(line)
            outcome[found["step"]] = found["error"]
    if process.returncode:
        outcome.setdefault(
            "migrate", f"The process ended with {process.returncode}; see {log}"
        )
    return outcome


def judge(name: str, dsql: Outcome, reference: Outcome) -> list[str]:
    """What is not as it should be."""
    faults = []
    for step in APPS[name].steps:
        known = (name, step) in KNOWN
        failed = dsql.get(step) != ""
        if reference.get(step) != "":
            faults.append(
                f"{name}: {step} fails on PostgreSQL too: {reference.get(step, 'not run')}"
            )
        elif failed and not known:
            faults.append(f"{name}: {step} fails on DSQL: {dsql.get(step, 'not run')}")
        elif known and not failed:
            faults.append(f"{name}: {step} passes on DSQL; take it out of known.py")
    return faults


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.apps", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="name", help="of the catalog; default: all"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(APPS):
        parser.error(f"not in tests/apps/catalog.py: {', '.join(sorted(unknown))}")
    CACHE.mkdir(parents=True, exist_ok=True)
    CACHE.chmod(0o711)
    outcomes: dict[str, dict[str, Outcome]] = {}
    faults: list[str] = []
    with databases(CACHE) as (status, postgres):
        for number, name in enumerate(arguments.names or APPS):
            outcomes[name] = {
                engine: trial(
                    name,
                    fresh(engine, number, status, postgres),
                    status.environ() if engine == "dsql" else {},
                    CACHE / f"{engine}-{name.replace(' ', '-')}.log",
                )
                for engine in ENGINES
            }
            faults += judge(name, outcomes[name]["dsql"], outcomes[name]["postgresql"])
            if arguments.format == "text":
                print(line(name, outcomes[name]), flush=True)
    if arguments.format == "json":
        print(json.dumps({"outcomes": outcomes, "faults": faults}, indent=2))
    else:
        print("\n".join(faults) or "As expected.")
    return 1 if faults else 0


def line(name: str, found: dict[str, Outcome]) -> str:
    cells = []
    for engine in ENGINES:
        steps = [
            "ok"
            if found[engine].get(step) == ""
            else "FAIL"
            if step in found[engine]
            else "-"
            for step in STEPS
        ]
        cells.append(" ".join(f"{step:5}" for step in steps))
    return f"{name:32} dsql: {cells[0]}  postgresql: {cells[1]}"


if __name__ == "__main__":
    sys.exit(main())
