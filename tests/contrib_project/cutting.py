"""Cut a migration run before and after every one of its statements.

``python -m tests.contrib_project.cutting SANDBOX [--every N] [app ...]`` with the
environment of the sandbox in that folder. Each time the run starts from nothing, loses its
connection at one statement by a fault of the sandbox, and is run again; then the schema
must be that of an undisturbed run. ``--kill`` ends the whole process at the statement
instead, by SIGKILL; that process has another order of its sets than the next.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command
from django.db import Error, connection

from config.dsql.retry import repeat
from ops.local.sandbox.fault_control import FaultClient
from tests.contrib_project.schemas import described

SCHEMA = "cutting"
# Not executed; executed and committed, and never answered.
FAULTS = {"before": "cut-before-statement", "after": "cut-after-commit"}
Strike = Callable[[], object]


def fresh() -> None:
    connection.close()
    connection.settings_dict["NAME"] = "postgres"
    with connection.cursor() as cursor:
        for sql in (
            f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE",
            f"CREATE SCHEMA {SCHEMA}",
        ):
            repeat(partial(cursor.execute, sql))
    connection.close()
    connection.settings_dict["NAME"] = f"postgres.{SCHEMA}"


def migrate(apps: list[str]) -> None:
    for app in apps:
        call_command("migrate", app, verbosity=0, interactive=False)


class Counter:
    """Counts the statements that change something; something happens at one of them."""

    def __init__(self, at: int = 0, strike: Strike | None = None) -> None:
        self.at, self.strike = at, strike
        self.statements: list[str] = []

    def __call__(
        self, execute: Any, sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        if not sql.lstrip().startswith("SELECT"):
            self.statements.append(sql)
            if len(self.statements) == self.at and self.strike is not None:
                self.strike()
        return execute(sql, params, many, context)


@contextmanager
def counting(counter: Counter) -> Iterator[None]:
    with connection.execute_wrapper(counter):
        yield


def killed(arguments: list[str], at: int) -> bool:
    """Whether the run's process ended at the statement."""
    fresh()
    program = [sys.executable, "-m", "tests.contrib_project.cutting"]
    ended = subprocess.run(
        [*program, *arguments, "--die-at", str(at)],
        env={**os.environ, "PYTHONHASHSEED": str(at)},
        check=False,
    )
    return ended.returncode == -signal.SIGKILL


def die(apps: list[str], at: int) -> None:
    connection.settings_dict["NAME"] = f"postgres.{SCHEMA}"
    with counting(Counter(at, lambda: os.kill(os.getpid(), signal.SIGKILL))):
        migrate(apps)


def cut(apps: list[str], switch: FaultClient, fault: str, at: int) -> bool:
    """Whether the run ended at the statement; False when it repeated it by itself."""
    fresh()
    try:
        with counting(Counter(at, partial(switch.add, fault, times=1))):
            migrate(apps)
    except Error:
        connection.close()
        return True
    finally:
        assert [each["struck"] for each in switch.list()] == [1]
        switch.clear()
    return False


def interrupt_everywhere(
    apps: list[str], ways: Mapping[str, Callable[[int], bool]], *, every: int = 1
) -> dict[str, Any]:
    fresh()
    undisturbed = Counter()
    with counting(undisturbed):
        migrate(apps)
    wanted = described(connection)
    total, different, cuts, survived = len(undisturbed.statements), [], 0, 0
    for at in range(every, total + 1, every):
        for kind, interrupted in ways.items():
            cuts += 1
            survived += not interrupted(at)
            try:
                migrate(apps)
            except Error as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
                connection.close()
            if described(connection) != wanted:
                different.append([at, kind, undisturbed.statements[at - 1]])
        if at % 10 == 0:
            print(f"{at} of {total} statements", file=sys.stderr, flush=True)
    return {
        "statements": total,
        "cuts": cuts,
        "survived": survived,
        "different": different,
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("sandbox", type=Path)
    parser.add_argument("apps", nargs="*", default=["demo"])
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--die-at", type=int, help="what --kill starts")
    arguments = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.contrib_project.settings"
    django.setup()
    apps, switch = arguments.apps, FaultClient(arguments.sandbox)
    if arguments.die_at:
        die(apps, arguments.die_at)
        return 0
    ways: dict[str, Callable[[int], bool]] = {
        kind: partial(cut, apps, switch, fault) for kind, fault in FAULTS.items()
    }
    if arguments.kill:
        ways = {"kill": partial(killed, [str(arguments.sandbox), *apps])}
    found = interrupt_everywhere(apps, ways, every=arguments.every)
    connection.close()
    print(json.dumps(found))
    return 1 if found["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
