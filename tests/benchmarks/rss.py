"""Whether the sandbox keeps memory of connections that are gone."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from config.dsql import tokens
from ops.local.sandbox.lifecycle import Status
from tests.benchmarks.figures import Figure

WARM_UP, CONNECTIONS = 1000, 10_000
AT_ONCE = 4
# Growth is noise below the larger of both.
SHARE, MEBIBYTES = 0.05, 5.0


def measure(status: Status) -> list[Figure]:
    """Open, log in, query and close: 1,000 to warm up, then 10,000 more."""
    region = status.regions[0]
    endpoint = tokens.Endpoint(region.endpoint, region.region, "admin")
    use(endpoint, WARM_UP)
    before = resident(status)
    use(endpoint, CONNECTIONS)
    after = resident(status)
    return [
        Figure(
            f"daemon, growth over {CONNECTIONS:,} connections",
            after - before,
            "MiB",
            at_most=round(max(MEBIBYTES, SHARE * before), 1),
            note=f"resident {before:.1f} MiB before, {after:.1f} MiB after",
        )
    ]


def use(endpoint: tokens.Endpoint, connections: int) -> None:
    def one(number: int) -> None:
        with psycopg.connect(
            host=endpoint.host,
            user=endpoint.user,
            dbname="postgres",
            sslmode="verify-full",
            password=tokens.TOKENS.issue(endpoint),
        ) as connection:
            row: Any = connection.execute("SELECT %s::int", (number,)).fetchone()
            if row[0] != number:
                raise RuntimeError(f"asked for {number}, got {row}")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(one, range(connections)):
            pass


def resident(status: Status) -> float:
    """The daemon's resident memory in MiB."""
    pid = (status.root / "pid").read_text()
    shown = subprocess.run(
        ["ps", "-o", "rss=", "-p", pid],  # noqa: S607 - the system's own ps
        capture_output=True,
        text=True,
        check=True,
    )
    return int(shown.stdout) / 1024
