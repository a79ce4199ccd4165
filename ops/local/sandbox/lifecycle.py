"""Start, stop, describe and remove a sandbox; every function may be repeated."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from ops.local.sandbox.clusters import Cluster, Timing
from ops.local.sandbox.control import ACTIONS
from ops.local.sandbox.control_store import save
from ops.local.sandbox.postgres import Postgres
from ops.local.sandbox.rules import assumptions
from ops.local.sandbox.state import State
from ops.paths import PROJECT
from ops.sandbox_status import CLUSTERS, HOST, Region, Status, is_alive, status
from ops.topology import Topology

__all__ = [
    "HOST", "Region", "SandboxError", "Status", "data_directory", "describe", "down", "is_alive",
    "reset", "status", "up",
]  # fmt: skip

OPERATOR = ("DbConnect", "DbConnectAdmin", *ACTIONS)
DEFAULT_TOPOLOGY = Topology.from_environment({})
START_SECONDS, STOP_SECONDS = 60.0, 30.0


class SandboxError(Exception):
    """The sandbox could not be started or stopped; the text says why and what to do."""


def describe(status: Status) -> dict[str, Any]:
    """The status as JSON, with where the data are."""
    regions = [
        {"role": r.role, "region": r.region, "endpoint": r.endpoint}
        for r in status.regions
    ]
    return {
        "state": status.state,
        "regions": regions,
        "hostaddr": HOST,
        "port": status.port,
        "sslrootcert": str(status.sslrootcert),
        "credentials": status.credentials,
        "data": str(data_directory(status)),
        "assume": list(status.assume),
    }


def data_directory(status: Status) -> Path:
    """Where PostgreSQL keeps the data; not always inside the sandbox's directory."""
    return Postgres(status.root).home


def up(
    root: Path,
    *,
    topology: Topology | None = DEFAULT_TOPOLOGY,
    port: int = 0,
    timing: Timing | None = None,
    job_delay: float | None = None,
    durable: bool | None = None,
    assume: Collection[str] | None = None,
    prefix: str = DEFAULT_TOPOLOGY.prefix,
) -> Status:
    """Start the sandbox, or find it running. ``port`` 0 keeps the port it has.

    A new one begins with the clusters of ``topology``, ready to serve; None for none.
    ``job_delay``: seconds before a job begins; None keeps what is set. A running sandbox
    takes it at once. ``durable``: whether commits outlive a crash of PostgreSQL; None keeps
    what is set, at first True. ``assume``: names of rules/assumptions.py; None keeps what
    is set, at first none. Only a start can change these two.

    Raises SandboxError with the last lines of its log when it does not start.
    """
    names = _classify(assume)
    root = root.resolve()
    # Passable, not readable: as root, PostgreSQL runs as another user inside it.
    root.mkdir(mode=0o711, parents=True, exist_ok=True)
    found = status(root)
    if (kept := State.load(root)) is not None:
        if found.state == "running" and durable not in {None, kept.durable}:
            raise SandboxError(
                f"The sandbox in {root} is running, and only a start can change whether "
                "its commits are durable: run `manage.py sandbox down` first."
            )
        if found.state == "running" and names not in {None, frozenset(kept.assume)}:
            raise SandboxError(
                f"The sandbox in {root} is running, and only a start can change what it "
                "assumes: run `manage.py sandbox down` first."
            )
        kept.changed(job_delay=job_delay, durable=durable, assume=names).save(root)
    if found.state == "running":
        return found
    # Of two starters one makes the state and the other finds it.
    with (root / "starting").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not is_alive(root):
            state = State.load(root)
            if state is None:
                save(root / CLUSTERS, *_initial(topology))
                state = State.new(port, OPERATOR, timing or Timing(), prefix)
            state.changed(
                port=port, job_delay=job_delay, durable=durable, assume=names
            ).save(root)
            _spawn(root)
    return _await(root)


def _classify(assume: Collection[str] | None) -> frozenset[str] | None:
    try:
        return None if assume is None else assumptions.check(assume)
    except assumptions.UnknownAssumptionError as error:
        raise SandboxError(str(error)) from None


def _initial(topology: Topology | None) -> tuple[list[Cluster], list[str]]:
    """The clusters of the topology as if they had been made a minute ago; who has data."""
    if topology is None:
        return [], []
    then = time.time() - 60
    clusters = [
        Cluster(
            region=region,
            created=then + number,
            peered=None if topology.single_region else then,
            witness=topology.witness,
            tags=topology.tags(role),
        )
        for number, (role, region) in enumerate(topology.regions.items())
    ]
    for cluster in clusters:
        cluster.peers = [other.arn for other in clusters if other is not cluster]
    return clusters, [cluster.identifier for cluster in clusters]


def _spawn(root: Path) -> None:
    # libpq's variables, which may point at this sandbox, are not for its own PostgreSQL.
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    with (root / "sandbox.log").open("w") as log:
        subprocess.run(
            [sys.executable, "-m", "ops.local.sandbox", str(root)],
            cwd=PROJECT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # It forks, outlives the terminal and its Ctrl-C; `down` ends it.
            start_new_session=True,
            check=True,
        )


def _await(root: Path) -> Status:
    deadline = time.monotonic() + START_SECONDS
    grace = time.monotonic() + 5  # seconds a new process may need to take the lock
    while (found := status(root)).state != "running":
        gone = found.state == "stopped" and (_log(root) or time.monotonic() > grace)
        if gone or time.monotonic() > deadline:
            raise SandboxError(
                f"The sandbox in {root} did not start; its log says:\n{_log(root)}\n"
                f"If the port is taken: manage.py sandbox up --port <another>."
            )
        time.sleep(0.02)
    return found


def _log(root: Path) -> str:
    with suppress(FileNotFoundError):
        return (root / "sandbox.log").read_text(errors="replace")[-2000:].strip()
    return ""


def down(root: Path) -> bool:
    """Stop the sandbox; False when it was not running. The data stay."""
    root = root.resolve()
    if not is_alive(root):
        if (root / "sandbox.json").exists():
            Postgres(root).stop()  # one that outlived a killed sandbox
        return False
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        os.kill(int((root / "pid").read_text()), signal.SIGTERM)
    if not _wait(lambda: not is_alive(root), STOP_SECONDS):
        raise SandboxError(
            f"The sandbox in {root} did not stop within {STOP_SECONDS:.0f} s; "
            f"its log is {root / 'sandbox.log'}."
        )
    return True


def reset(root: Path) -> bool:
    """Stop the sandbox and delete all it kept; False when there was nothing."""
    root = root.resolve()
    if not (root / "sandbox.json").exists():
        return False
    down(root)
    Postgres(root).remove()
    shutil.rmtree(root)
    return True


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
