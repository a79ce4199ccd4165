"""CPU that a deadline costs each statement, against the same connection without one."""

import math
import statistics
import time
from dataclasses import replace
from typing import Any

from django.db import connections

from config.dsql.deadlines import Limits, within
from ops.local.sandbox.lifecycle import Status
from tests.benchmarks.figures import Figure, alternate

GOAL = 15.0  # microseconds
ROUNDS, CALLS = 15, 400
BOUNDED, UNBOUNDED = "a statement with a deadline", "without"


def measure(status: Status) -> list[Figure]:
    wrapper: Any = connections["default"]
    wrapper.ensure_connection()
    served = wrapper.limits
    # The measurement may last longer than a request.
    limited = replace(served, request=math.inf)
    unlimited = replace(served, suspended=1)

    def select(limits: Limits) -> None:
        wrapper.limits = wrapper.connection.limits = limits
        with wrapper.cursor() as cursor:
            cursor.execute("SELECT 1")
            cursor.fetchone()

    try:
        with within(3600.0):  # a request, whose statements these are
            taken = alternate(
                {
                    BOUNDED: lambda: select(limited),
                    UNBOUNDED: lambda: select(unlimited),
                },
                rounds=ROUNDS,
                calls=CALLS,
                clock=time.process_time,
            )
    finally:
        wrapper.limits = wrapper.connection.limits = served
    assert limited.statement < math.inf
    pairs = zip(taken[BOUNDED], taken[UNBOUNDED], strict=True)
    cost = statistics.median(with_one - without for with_one, without in pairs)
    whole = statistics.median(taken[BOUNDED]) * 1000
    return [
        Figure(
            "CPU of a deadline per statement",
            cost * 1000,
            "µs",
            at_most=GOAL,
            note=f"of {whole:.0f} µs that SELECT 1 takes",
        )
    ]
