"""Requests through each framework's Lambda handler: client CPU beside the floor's.

Each peer is a process of its own with its own connection; rounds take turns, and every
ratio is taken inside its round. Authentication, limits and idempotency are off in the
cells that are compared; what each of them costs is measured after.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from django.conf import settings

from config.api.access import SCOPES
from ops.local.issuer import Issuer, serving
from ops.local.sandbox.lifecycle import Status
from ops.sample_users import sample_lines
from tests.benchmarks.figures import Figure
from users.models import User
from users.services import users_import

CELLS = ("GET", "list", "POST", "PATCH")
FLOOR, OURS = "floor", "this API"
PEERS = (FLOOR, OURS, "django-ninja", "FastAPI")
OF_FLOOR = {"GET": 9.0, "list": 3.0, "POST": 8.0, "PATCH": 8.0}
ROUNDS, CALLS, WARM_UP = 15, 40, 30
NEEDED = ("fastapi", "mangum", "sqlalchemy", "ninja")
OFF = {
    "API_AUTH": "none", "API_RATE_LIMIT": "0", "LOG_LEVEL": "INFO",
    "ALLOWED_HOSTS": "api.example.com", "CORS_ALLOWED_ORIGINS": "",
}  # fmt: skip
Taken = dict[str, dict[str, list[float]]]


class Peer:
    """A peer's process; ``spend`` has it serve and answers the CPU ms of a call."""

    def __init__(self, name: str, user: str, environ: Mapping[str, str]) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.peers.serve", name, user],
            env={**os.environ, **OFF, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def spend(self, cell: str, calls: int) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([cell, calls]) + "\n")
        self.process.stdin.flush()
        answered = self.process.stdout.readline()
        if not answered:
            raise RuntimeError(f"{self.name} ended")
        found = json.loads(answered)
        if "error" in found:
            raise RuntimeError(found["error"])
        return float(found["spent"])


@contextmanager
def peer(name: str, user: str, environ: Mapping[str, str]) -> Iterator[Peer]:
    running = Peer(name, user, environ)
    with running.process:
        yield running
        running.process.terminate()


def measure(status: Status) -> list[Figure]:
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise SystemExit(
            f"The peers need {', '.join(missing)}: .venv/bin/pip install "
            f"--require-hashes -r requirements/bench.txt"
        )
    list(users_import(sample_lines(100)))
    user = str(User.objects.values_list("pk", flat=True)[0])
    os.environ.pop("DJANGO_SETTINGS_MODULE")
    taken = rounds({name: (name, {}) for name in PEERS}, user, CELLS)
    figures = []
    for cell in CELLS:
        figures.append(against(taken, cell, FLOOR, OF_FLOOR[cell]))
        for other in PEERS[2:]:
            goal = None if (other, cell) == ("django-ninja", "GET") else 1.0
            figures.append(against(taken, cell, other, goal))
    return figures + costs(user)


def rounds(
    peers: Mapping[str, tuple[str, Mapping[str, str]]],
    user: str,
    cells: tuple[str, ...],
) -> Taken:
    taken: Taken = {name: {cell: [] for cell in cells} for name in peers}
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(peer(kind, user, environ))
            for name, (kind, environ) in peers.items()
        }
        for cell in cells:
            for one in running.values():
                one.spend(cell, WARM_UP)
            for _ in range(ROUNDS):
                for name, one in running.items():
                    taken[name][cell].append(one.spend(cell, CALLS))
    return taken


def against(taken: Taken, cell: str, other: str, goal: float | None) -> Figure:
    own, peers = taken[OURS][cell], taken[other][cell]
    ratios = [mine / theirs for mine, theirs in zip(own, peers, strict=True)]
    return Figure(
        f"{cell}, {OURS} / {other}",
        statistics.median(own),
        "ms",
        peer=statistics.median(peers),
        ratio=statistics.median(ratios),
        at_most=goal,
    )


def costs(user: str) -> list[Figure]:
    """What is off above, and each middleware: each alone against its absence."""
    with tempfile.TemporaryDirectory() as folder:
        own = Issuer.load(Path(folder) / "issuer.pem", port=0)
        with serving(own) as issuer:
            token = issuer.token(subject="x", scopes=tuple(SCOPES), minutes=60)
            features = {
                "OIDC access token": {**issuer.environ, "WITH_TOKEN": token},
                "rate limit": {"API_RATE_LIMIT": "1000000"},
                "cross-origin access": {
                    "CORS_ALLOWED_ORIGINS": "https://app.example.com"
                },
                "Idempotency-Key": {"WITH_IDEMPOTENCY_KEY": "1"},
            }
            without = {
                name: {"WITHOUT_MIDDLEWARE": name}
                for name in settings.MIDDLEWARE
                if not name.startswith("corsheaders.")
            }
            variants = {OURS: {}, **features, **without}
            peers = {name: (OURS, environ) for name, environ in variants.items()}
            taken = rounds(peers, user, ("POST",))
    return [
        *(cost(taken, name, name, OURS) for name in features),
        *(cost(taken, name.rpartition(".")[2], OURS, name) for name in without),
    ]


def cost(taken: Taken, name: str, with_it: str, without_it: str) -> Figure:
    more, less = taken[with_it]["POST"], taken[without_it]["POST"]
    spent = statistics.median(a - b for a, b in zip(more, less, strict=True))
    return Figure(f"POST, cost of {name}", spent * 1000, "us")
