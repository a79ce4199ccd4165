"""Client CPU of a connection through the backend, against the driver by itself."""

import time
from typing import Any

import psycopg
from django.db import connection

from config.dsql import options as settings
from config.dsql import tokens
from ops.local.sandbox.lifecycle import Status
from tests.benchmarks.figures import Figure, alternate, compare

GOAL = 1.5
ROUNDS, CALLS = 15, 20
KEPT, FRESH = "config.dsql, kept token", "config.dsql, token signed each time"
SHIPPED = "config.dsql, Amazon's roots"
PEER = "psycopg, TLS, static password"


def measure(status: Status) -> list[Figure]:
    """Open and close; the peer encrypts without verifying and signs nothing."""
    endpoint = tokens.Endpoint(
        status.regions[0].endpoint, status.regions[0].region, "admin"
    )
    # The certificates a deployed process loads, and the sandbox's authority with them.
    shipped = status.root / "amazon-and-sandbox.pem"
    shipped.write_bytes(
        settings.AMAZON_ROOTS.read_bytes() + status.sslrootcert.read_bytes()
    )
    static: dict[str, Any] = {
        "host": endpoint.host,
        "user": "admin",
        "dbname": "postgres",
        "password": tokens.TOKENS.issue(endpoint),
        "sslmode": "require",
        # libpq verifies as soon as it finds certificates; the environment names some.
        "sslrootcert": "/nonexistent",
        "connect_timeout": 5,
    }

    def driver() -> None:
        psycopg.connect(**static, autocommit=True).close()

    def backend() -> None:
        connection.connect()
        connection.close()

    def signing() -> None:
        tokens.TOKENS._kept.clear()
        backend()

    options = connection.settings_dict["OPTIONS"]

    def with_shipped_roots() -> None:
        options["sslrootcert"] = str(shipped)
        backend()
        del options["sslrootcert"]

    connection.close()
    taken = alternate(
        {KEPT: backend, FRESH: signing, SHIPPED: with_shipped_roots, PEER: driver},
        rounds=ROUNDS,
        calls=CALLS,
        clock=time.process_time,
    )
    return [compare(taken, name, PEER, at_most=GOAL) for name in (KEPT, FRESH, SHIPPED)]
