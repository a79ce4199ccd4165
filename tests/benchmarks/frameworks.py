"""Requests and cold starts of each framework's Lambda handler, beside the floor's.

Every peer is the package that Lambda would get, in a process that imports nothing else,
with API Gateway's events and a connection of its own over TLS. It must do the same as the
others before it is measured. Rounds take turns, and every ratio is taken inside its round.
"""

import tempfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from config.api.access import SCOPES
from config.dsql.tokens import TOKENS, Endpoint
from ops.local.issuer import Issuer, serving
from ops.local.sandbox.lifecycle import Status
from ops.sample_users import sample_lines
from tests.benchmarks.figures import Figure
from tests.benchmarks.peers import tls
from tests.benchmarks.peers.events import CELLS, HOST, build_events
from tests.benchmarks.peers.function import (
    Function,
    Installed,
    PeerFailed,
    Variant,
    running,
)
from tests.benchmarks.peers.packages import OURS, install_all
from tests.benchmarks.peers.report import PHASES, Cold, Results, Warm, build_figures
from tests.benchmarks.peers.verify import count_round_trips, verify
from tests.wire import relay
from users.models import User
from users.selectors import FIELDS
from users.services import users_import

T = TypeVar("T")
USERS, NEWEST = 200, 100
WARM_UP = 30
LIMITED = f"{OURS} with rate limit and access token"
CONDITIONS = """\
Client CPU (process_time) in one process model: events of a REST API through each peer's
Lambda handler, psycopg over TLS to PostgreSQL on loopback, Lambda's own client loaded.
This API: JSON log line with metrics, Host check, deadline and problem documents on; rate
limit and authentication off, and on in a row of its own; X-Ray off. The other peers write
no log line and check no Host. Only this API stores the response to a keyed POST; the others
ignore the key. The floor is one file with psycopg and json, without botocore. Round trips
are counted at the sandbox, where each peer had to respond as the others do."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How often: runs of fresh processes, rounds in each, calls in those, cold starts."""

    runs: int
    rounds: int
    calls: int
    cold_starts: int


FULL = Plan(runs=3, rounds=20, calls=40, cold_starts=9)
QUICK = Plan(runs=1, rounds=2, calls=5, cold_starts=2)


def measure(status: Status, plan: Plan = FULL) -> list[Figure]:
    list(users_import(sample_lines(USERS)))
    with tempfile.TemporaryDirectory(prefix="peers-") as scratch:
        root = Path(scratch)
        peers = install_all(root)
        with (
            serving(Issuer.load(root / "issuer.pem", port=0)) as issuer,
            tls.serving(status) as direct,
        ):
            # What responds as it must on the sandbox is measured on PostgreSQL itself.
            trips = {
                variant.name: check(status, variant)
                for variant in build_variants(status, peers, issuer)
            }
            user = read_newest()[0]["id"]
            results = Results(peers, trips)
            for _ in range(plan.runs):
                # Built again: a token is for 15 minutes.
                variants = build_variants(direct, peers, issuer)
                results.warm.append(measure_warm(variants, user, plan))
                results.cold.append(measure_cold(variants, user, plan))
    return build_figures(results)


def build_variants(
    status: Status, peers: list[Installed], issuer: Issuer
) -> list[Variant]:
    """Every peer, and this API once more with what its clients can be held to."""
    variants = []
    for peer in peers:
        environ = (build_own_environ if peer.name == OURS else build_peer_environ)(
            status
        )
        variants.append(Variant(peer.name, peer, environ))
        if peer.name == OURS:
            limits = {**issuer.environ, "API_RATE_LIMIT": "1000000"}
            token = issuer.token(subject="x", scopes=tuple(SCOPES), minutes=60)
            headers = {"Authorization": f"Bearer {token}"}
            variants.append(Variant(LIMITED, peer, environ | limits, headers))
    return variants


def build_own_environ(status: Status) -> dict[str, str]:
    """As a deployment sets it, but for what is measured in a row of its own."""
    return status.environ() | {
        "DJANGO_SECRET_KEY": "k" * 50,
        "ALLOWED_HOSTS": HOST,
        "LOG_FORMAT": "json",
        "METRICS_NAMESPACE": "benchmark",
        "API_AUTH": "none",
        "API_RATE_LIMIT": "0",
    }


def build_peer_environ(status: Status) -> dict[str, str]:
    """Address, login and token for libpq: a peer signs nothing."""
    region = status.regions[0]
    return status.environ() | {
        # For Zappa's own handler: make the application while the function starts.
        "INSTANTIATE_LAMBDA_HANDLER_ON_IMPORT": "1",
        "PGHOST": region.endpoint,
        "PGUSER": "admin",
        "PGDATABASE": "postgres",
        "PGSSLMODE": "verify-full",
        "PGPASSWORD": TOKENS.issue(Endpoint(region.endpoint, region.region, "admin")),
    }


def check(status: Status, variant: Variant) -> dict[str, int]:
    """The round trips of each cell. Raises PeerFailed when a response is not the others'."""
    with (
        relay(status.port) as wire,
        running(variant, PGPORT=str(wire.port)) as function,
    ):
        newest = read_newest()
        verify(function, newest)
        return count_round_trips(function, wire, newest[0]["id"])


def read_newest() -> list[dict[str, Any]]:
    rows = User.objects.order_by("-created_at", "-id").values(*FIELDS)[:NEWEST]
    return [{name: str(value) for name, value in row.items()} for row in rows]


def measure_warm(
    variants: list[Variant], user: str, plan: Plan, cells: Iterable[str] = CELLS
) -> Warm:
    """Milliseconds per call, one figure a round."""
    taken: Warm = {v.name: {cell: [] for cell in cells} for v in variants}
    with ExitStack() as stack:
        functions = [stack.enter_context(running(variant)) for variant in variants]
        for cell in cells:
            for function in functions:
                spend(function, cell, user, WARM_UP)
            for number in range(plan.rounds):
                for function in rotate(functions, number):
                    spent = spend(function, cell, user, plan.calls)
                    taken[function.name][cell].append(spent)
    return taken


def spend(function: Function, cell: str, user: str, calls: int) -> float:
    seen = function.invoke(build_events(cell, user, calls))
    if set(seen.statuses) != {CELLS[cell]}:
        raise PeerFailed(f"{function.name}, {cell}: {seen.statuses}, {seen.response}")
    return seen.cpu / calls


def measure_cold(variants: list[Variant], user: str, plan: Plan) -> Cold:
    """Milliseconds of each phase, resident bytes and modules of each start."""
    taken: Cold = {variant.name: [] for variant in variants}
    for number in range(plan.cold_starts):
        for variant in rotate(variants, number):
            with running(variant) as function:
                spent = [function.init_cpu]
                for cell in ("health", "GET"):
                    seen = function.invoke(build_events(cell, user, 1))
                    spent.append(seen.cpu)
            phases = dict(zip(PHASES, spent, strict=True))
            taken[variant.name].append(
                {**phases, "rss": seen.rss, "modules": seen.modules}
            )
    return taken


def rotate(items: list[T], number: int) -> list[T]:
    """Another one begins each round, so that none always follows the same."""
    first = number % len(items)
    return items[first:] + items[:first]
