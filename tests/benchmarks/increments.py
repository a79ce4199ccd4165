"""Ten races of 4 processes that add one to the same row 25 times each.

``python -m tests.benchmarks.increments <database name> <user> <way>`` is one of them: it
reads the row, adds one and writes it, in the runner with its default policy, or in a view
that knows nothing of conflicts, behind the middleware with the same policy.
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
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path

from config.dsql.retry import ConflictRetriesExhausted, run_transaction
from ops.local.sandbox.lifecycle import Status
from tests.benchmarks.figures import Figure

PROJECT = Path(__file__).parents[2]
RACES, PROCESSES, TIMES = 10, 4, 25
EXPECTED = PROCESSES * TIMES
RUNNER, MIDDLEWARE = WAYS = ("runner", "middleware")
AS_THE_ADMIN = override_settings(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["testserver"],
    MIDDLEWARE=["config.dsql.middleware.RetryConflicts"],
)


@dataclass(frozen=True)
class Race:
    """What the row holds afterwards, and how many increments the runner gave up."""

    stored: int
    refused: int


def measure(status: Status) -> list[Figure]:
    return [figure for way in WAYS for figure in _measure(status, way)]


def _measure(status: Status, way: str) -> list[Figure]:
    started = time.perf_counter()
    races = [race(status, way) for _ in range(RACES)]
    seconds = (time.perf_counter() - started) / RACES
    stored = [run.stored for run in races]
    return [
        Figure(
            f"{way}: least of {EXPECTED} increments stored",
            min(stored),
            "",
            at_least=EXPECTED,
            note=f"{RACES} races: {stored}",
        ),
        Figure(
            f"{way}: increments given up",
            sum(run.refused for run in races),
            "",
            at_most=0,
        ),
        Figure(f"{way}: a race, start of its processes included", seconds, "s"),
    ]


def race(status: Status, way: str = RUNNER) -> Race:
    """Half of the processes count through each Region's endpoint."""
    from users.models import User  # needs configured settings, unlike a counter's start

    user = User.objects.create(name="0", email=f"{uuid.uuid4()}@example.com")
    with ExitStack() as stack:
        counting = [
            stack.enter_context(_start(status, number, user.pk, way))
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


def _start(
    status: Status, number: int, user: uuid.UUID, way: str
) -> subprocess.Popen[str]:
    name = connection.settings_dict["NAME"]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.increments", name, str(user), way],
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


def increment(user: uuid.UUID) -> None:
    from users.models import User

    counted = User.objects.get(pk=user)
    counted.name = str(int(counted.name) + 1)
    counted.save(update_fields=["name"])


@transaction.atomic
def increment_view(request: HttpRequest, user: uuid.UUID) -> HttpResponse:
    increment(user)
    return HttpResponse()


urlpatterns = [path("increment/<uuid:user>", increment_view)]


def count_by_runner(user: uuid.UUID) -> int:
    """Add one TIMES times; how often the runner gave up."""
    refused = 0
    for _ in range(TIMES):
        try:
            run_transaction(lambda: increment(user))
        except ConflictRetriesExhausted:
            refused += 1
    return refused


def count_by_middleware(user: uuid.UUID) -> int:
    """Add one TIMES times; how many requests ended with an error."""
    with AS_THE_ADMIN:
        client = Client(raise_request_exception=False)
        statuses = [client.post(f"/increment/{user}").status_code for _ in range(TIMES)]
    return TIMES - statuses.count(200)


COUNTERS = {RUNNER: count_by_runner, MIDDLEWARE: count_by_middleware}


def main(name: str, user: str, way: str) -> None:
    django.setup()
    connection.settings_dict["NAME"] = name
    connection.ensure_connection()
    print("connected", flush=True)
    sys.stdin.read()
    print(COUNTERS[way](uuid.UUID(user)))
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
