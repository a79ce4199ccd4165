"""Point SELECTs a second through the sandbox, by client processes over TLS.

The same clients ask the sandbox's own PostgreSQL too, past the sandbox: in each round one
after the other, so that whatever else the machine does falls on both.
"""

import os
import statistics
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import psycopg

from config.dsql import tokens
from ops.local.sandbox.lifecycle import Status
from ops.local.sandbox.postgres import PORT, SUPERUSER, Postgres
from tests.benchmarks.figures import Figure

AT_LEAST = 0.25  # of plain PostgreSQL's rate
CONNECTIONS = 4
ROUNDS, SECONDS = 12, 1.0
USERS = 1000
QUERY = "SELECT id, name, email, created_at, updated_at FROM users_user WHERE id = %s"
ADD = """
    INSERT INTO users_user (id, name, email, created_at, updated_at)
    VALUES (%s, 'Point', %s, now(), now())
"""
# How psycopg sends it: parameters apart, or, as Django's cursors do, put into the text.
PROTOCOLS: dict[str, type[psycopg.Cursor[Any]]] = {
    "extended protocol": psycopg.Cursor,
    "Django's cursor": psycopg.ClientCursor,
}


def measure(status: Status) -> list[Figure]:
    """The median round is judged; measure on an idle machine."""
    keys = [uuid.uuid4() for _ in range(USERS)]
    with Postgres(status.root).connect() as postgres:
        rows = [(key, f"{key}@example.com") for key in keys]
        postgres.cursor().executemany(ADD, rows)
    region = status.regions[0]
    conninfo = {
        "host": region.endpoint,
        "user": "admin",
        "dbname": "postgres",
        "sslmode": "verify-full",
        "password": tokens.TOKENS.issue(
            tokens.Endpoint(region.endpoint, region.region, "admin")
        ),
    }
    plain = {
        "host": str(Postgres(status.root).socket),
        "hostaddr": "",  # named, or PGHOSTADDR would lead to the sandbox
        "port": PORT,
        "user": SUPERUSER,
        "dbname": "postgres",
    }
    cases = [(name, count) for name in PROTOCOLS for count in (1, CONNECTIONS)]
    rates: dict[tuple[str, int], list[tuple[float, float]]] = {c: [] for c in cases}
    with ProcessPoolExecutor(CONNECTIONS, mp_context=get_context("spawn")) as pool:
        for _ in range(ROUNDS):
            for name, count in cases:
                mine, theirs = (
                    rate(pool, count, (target, name, keys))
                    for target in (conninfo, plain)
                )
                rates[name, count].append((mine, theirs))
    return [figure(*case, rates[case]) for case in cases]


def figure(
    protocol: str, connections: int, rates: Sequence[tuple[float, float]]
) -> Figure:
    load = os.getloadavg()[0]
    best = max(mine for mine, _ in rates)
    return Figure(
        f"{protocol}, connections: {connections}",
        statistics.median(mine for mine, _ in rates),
        "/s",
        peer=statistics.median(theirs for _, theirs in rates),
        ratio=statistics.median(mine / theirs for mine, theirs in rates),
        at_least=AT_LEAST if connections == CONNECTIONS else None,
        note=f"peer: plain PostgreSQL; best {best:,.0f} /s; load average {load:.1f}",
    )


def rate(pool: ProcessPoolExecutor, connections: int, work: tuple[Any, ...]) -> float:
    """Statements a second of all clients, which run for the same stretch of time."""
    # Enough to import, connect and warm up before the clocks start.
    begin = time.time() + 0.5
    running = [pool.submit(client, begin, *work) for _ in range(connections)]
    return sum(done.result() for done in running) / SECONDS


def client(
    begin: float, conninfo: dict[str, Any], protocol: str, keys: list[uuid.UUID]
) -> int:
    """The SELECTs completed between ``begin`` and ``SECONDS`` later."""
    end, answered = begin + SECONDS, 0
    # Django never prepares on the server by itself either.
    with psycopg.connect(
        **conninfo,
        autocommit=True,
        prepare_threshold=None,
        cursor_factory=PROTOCOLS[protocol],
    ) as connection:
        at = 0
        while (now := time.time()) < end:
            key = keys[at % len(keys)]
            row: Any = connection.execute(QUERY, (key,)).fetchone()
            if row[0] != key:
                raise RuntimeError(f"asked for {key}, got {row}")
            at += 1
            answered += now >= begin
    return answered
