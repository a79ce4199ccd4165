"""Cold starts and warm requests of the deployed functions."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.rehearsal.client import build_event, send
from tests.rehearsal.lambda_service import Function
from tests.rehearsal.state import function_name, list_urls
from tests.rehearsal.world import World

ROUNDS = 3


@dataclass(frozen=True, slots=True)
class ColdStart:
    """CPU seconds of one new environment."""

    init: float
    first: float


def measure_cold_starts(world: World) -> list[ColdStart]:
    """New environments of both Regions, asked for /health and a user."""
    found = []
    for _ in range(ROUNDS):
        world.functions.close()
        for region, name, user in _users(world):
            function = world.functions.get(region, name)
            assert function.invoke(build_event("/health"))["statusCode"] == 200
            before = function.cpu()
            assert function.invoke(build_event(user))["statusCode"] == 200
            found.append(ColdStart(function.init_cpu, function.cpu() - before))
    return found


def measure_warm(world: World, calls: int) -> tuple[list[float], int]:
    """Seconds of each call, and the resident bytes after them."""
    region, name, user = next(_users(world))
    function: Function = world.functions.get(region, name)
    spent = []
    for _ in range(calls):
        started = time.perf_counter()
        assert function.invoke(build_event(user))["statusCode"] == 200
        spent.append(time.perf_counter() - started)
    return spent, function.rss()


def _users(world: World) -> Iterator[tuple[str, str, str]]:
    """Region, function and the path of a user that exists."""
    first = list_urls(world, "prod")[0]
    user = send(world, f"{first}/users?limit=1").json["users"][0]["id"]
    for role, region in world.topology.regions.items():
        yield region, function_name(world, role), f"/users/{user}"
