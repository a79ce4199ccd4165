"""Ten races of 4 processes that add one to the same row 25 times each.

``python -m tests.benchmarks.increments <database name> <user>`` is one of them:
it reads the row, adds one and writes it, in the runner with its default policy.
"""

import os
import subprocess
import sys
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import django
from django.db import connection

from config.dsql.retry import ConflictRetriesExhausted, run_transaction
from ops.local.sandbox.lifecycle import Status
from tests.benchmarks.figures import Figure

PROJECT = Path(__file__).parents[2]
RACES, PROCESSES, TIMES = 10, 4, 25
EXPECTED = PROCESSES * TIMES


@dataclass(frozen=True)
class Race:
    """What the row holds afterwards, and how many increments the runner gave up."""

    stored: int
    refused: int


def measure(status: Status) -> list[Figure]:
    started = time.perf_counter()
    races = [race(status) for _ in range(RACES)]
    seconds = (time.perf_counter() - started) / RACES
    stored = [run.stored for run in races]
    return [
        Figure(
            f"least of {EXPECTED} increments stored",
            min(stored),
            "",
            at_least=EXPECTED,
            note=f"{RACES} races: {stored}",
        ),
        Figure("increments given up", sum(r.refused for r in races), "", at_most=0),
        Figure("a race, start of its processes included", seconds, "s"),
    ]


def race(status: Status) -> Race:
    """Half of the processes count through each Region's endpoint."""
    from users.models import User  # needs configured settings, unlike a counter's start

    user = User.objects.create(name="0", email=f"{uuid.uuid4()}@example.com")
    with ExitStack() as stack:
        counting = [
            stack.enter_context(_start(status, number, user.pk))
            for number in range(PROCESSES)
        ]
        for process in counting:
            assert process.stdout is not None
            assert process.stdout.readline() == "connected\n"
        for process in counting:
            assert process.stdin is not None
            process.stdin.close()  # all begin now
        refused = sum(_refused(process) for process in counting)
    user.refresh_from_db()
    return Race(int(user.name), refused)


def _refused(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    return int(process.stdout.read())


def _start(status: Status, number: int, user: uuid.UUID) -> subprocess.Popen[str]:
    name = connection.settings_dict["NAME"]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.increments", name, str(user)],
        cwd=PROJECT,
        env={
            **os.environ,
            **status.environ(("primary", "secondary")[number % 2]),
            "DJANGO_SETTINGS_MODULE": "tests.settings",
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def count(user: uuid.UUID) -> int:
    """Add one TIMES times; how often the runner gave up."""
    from users.models import User

    def increment() -> None:
        counted = User.objects.get(pk=user)
        counted.name = str(int(counted.name) + 1)
        counted.save(update_fields=["name"])

    refused = 0
    for _ in range(TIMES):
        try:
            run_transaction(increment)
        except ConflictRetriesExhausted:
            refused += 1
    return refused


def main(name: str, user: str) -> None:
    django.setup()
    connection.settings_dict["NAME"] = name
    connection.ensure_connection()
    print("connected", flush=True)
    sys.stdin.read()
    print(count(uuid.UUID(user)))
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
