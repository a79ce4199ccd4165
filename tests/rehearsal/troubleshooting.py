"""The README's rows about Lambda: each problem is provoked, its command typed, its line seen."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ops.paths import PROJECT
from tests.rehearsal import client, gateway, lambda_service, state
from tests.rehearsal.lambda_service import Function
from tests.rehearsal.world import World

ROLE = "primary"
ROW = re.compile(
    r"^\| (.*?) \| `(\.venv/bin/zappa tail .*?)` \| (.*) \|$", re.MULTILINE
)
# How each row begins, and what its command shows when the problem exists.
SHOWN = {
    "A first request takes more than 10 s": r"INIT_REPORT .*Phase: init.*Status: timeout",
    "502 from API Gateway": r"Runtime exited with error: signal: killed",
    "504 from API Gateway": r"Task timed out after \d",
}


def commands() -> dict[str, str]:
    """The rows' commands as printed, by how the row begins."""
    rows = ROW.findall((PROJECT / "README.md").read_text())
    found = {symptom: command for symptom, command, _ in rows}
    assert found.keys() == SHOWN.keys(), found.keys()
    return found


def provoke_problems(world: World) -> bool:
    """A slow init, a function that is killed and one that takes too long; then all is well."""
    with _set(lambda_service, "INIT_SECONDS", 0.01):
        world.functions.close()
        assert _status(world) == 200  # of the repeated init
    child = _function(world).process
    assert child is not None
    child.child.kill()
    assert _status(world) == 502
    assert _status(world) == 200
    function = _function(world)
    assert function.process is not None
    os.kill(function.process.child.pid, signal.SIGSTOP)
    with _set(gateway, "INTEGRATION_SECONDS", 0.5), _set(function, "timeout", 2.0):
        assert _status(world) == 504
        with function.lock:  # until it has been ended
            pass
    return _status(world) == 200


def _function(world: World) -> Function:
    region = world.topology.regions[ROLE]
    return world.functions.get(region, state.function_name(world, ROLE))


def _status(world: World) -> int:
    """The status of a request; API Gateway's own errors are problem documents too."""
    response = client.send(world, f"{state.list_urls(world, 'prod')[0]}/users?limit=1")
    if response.status >= 400:
        assert response.json["status"] == response.status, response.body
    return response.status


@contextmanager
def _set(owner: Any, name: str, value: float) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
