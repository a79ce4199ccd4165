"""Cut a migration run before and after every one of its statements.

``python -m tests.contrib_project.cutting [--every N] [app ...]`` with the environment of a
sandbox. Each time the run starts from nothing, loses its connection at one statement, and
is run again; then the schema must be that of an undisturbed run. ``--kill`` ends the
whole process at the statement instead, by SIGKILL.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import django
from django.core.management import call_command
from django.db import Error, connection

from config.dsql.retry import repeat
from tests.contrib_project.schemas import described
from tests.wire import Wire, relay

SCHEMA = "cutting"


def fresh() -> None:
    connection.close()
    connection.settings_dict["NAME"] = "postgres"
    with connection.cursor() as cursor:
        for sql in (
            f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE",
            f"CREATE SCHEMA {SCHEMA}",
        ):
            repeat(lambda sql=sql: cursor.execute(sql))
    connection.close()
    connection.settings_dict["NAME"] = f"postgres.{SCHEMA}"


def migrate(apps: list[str]) -> None:
    for app in apps:
        call_command("migrate", app, verbosity=0, interactive=False)


class Counter:
    """Counts the statements that change something; arms the wire at one of them."""

    def __init__(self, wire: Wire, at: int = 0, kind: str = "") -> None:
        self.wire, self.at, self.kind, self.statements = wire, at, kind, []

    def __call__(
        self, execute: Any, sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        if not sql.lstrip().startswith("SELECT"):
            self.statements.append(sql)
            if len(self.statements) == self.at and self.kind == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if len(self.statements) == self.at:
                self.wire.cut = self.kind
        return execute(sql, params, many, context)


@contextmanager
def counting(counter: Counter) -> Iterator[None]:
    with connection.execute_wrapper(counter):
        yield


def interrupted(apps: list[str], wire: Wire, at: int, kind: str) -> bool:
    """Whether the run ended at the statement; False when it repeated it by itself."""
    fresh()
    if kind == "kill":
        pid = os.fork()
        if pid == 0:
            with counting(Counter(wire, at, kind)):
                migrate(apps)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    try:
        with counting(Counter(wire, at, kind)):
            migrate(apps)
    except Error:
        connection.close()
        return True
    return False


def cut_everywhere(
    apps: list[str],
    wire: Wire,
    *,
    every: int = 1,
    kinds: Sequence[str] = ("before", "after"),
) -> dict[str, Any]:
    fresh()
    undisturbed = Counter(wire)
    with counting(undisturbed):
        migrate(apps)
    wanted = described(connection)
    total, different, cuts, survived = len(undisturbed.statements), [], 0, 0
    for at in range(every, total + 1, every):
        for kind in kinds:
            cuts += 1
            survived += not interrupted(apps, wire, at, kind)
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
    parser.add_argument("apps", nargs="*", default=["demo"])
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--kill", action="store_true")
    arguments = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.contrib_project.settings"
    django.setup()
    kinds = ("kill",) if arguments.kill else ("before", "after")
    with relay(int(os.environ["PGPORT"])) as wire:
        found = cut_everywhere(arguments.apps, wire, every=arguments.every, kinds=kinds)
        connection.close()
    print(json.dumps(found))
    return 1 if found["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
