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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.local.sandbox.clusters import Cluster, Timing
from ops.local.sandbox.control import ACTIONS
from ops.local.sandbox.control_store import CLUSTERS, load, save
from ops.local.sandbox.postgres import Postgres
from ops.local.sandbox.rules import assumptions
from ops.local.sandbox.state import State
from ops.local.sandbox.tokens import Key
from ops.topology import PRIMARY, ROLES, Topology

OPERATOR = ("DbConnect", "DbConnectAdmin", *ACTIONS)
DEFAULT_TOPOLOGY = Topology.from_environment({})
START_SECONDS, STOP_SECONDS = 60.0, 30.0
HOST = "127.0.0.1"
PROJECT = Path(__file__).resolve().parents[3]
# What tells a process which sandbox its other variables are of.
TARGET_VARIABLE, FOLDER_VARIABLE = "TARGET", "DSQL_SANDBOX"


class SandboxError(Exception):
    """The sandbox could not be started or stopped; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Region:
    """A Region of the sandbox and the cluster that serves it."""

    role: str
    region: str
    identifier: str

    @property
    def endpoint(self) -> str:
        return f"{self.identifier}.dsql.{self.region}.on.aws"


@dataclass(frozen=True, slots=True)
class Status:
    """Where the sandbox is and how to reach it."""

    state: str  # running, starting, stopped or absent
    regions: tuple[Region, ...]
    port: int
    root: Path
    data: Path
    credentials: dict[str, str]  # the operator's
    runtime: dict[str, dict[str, str]]  # by role: those that serve it
    assume: tuple[str, ...] = ()  # where sources differ

    @property
    def sslrootcert(self) -> Path:
        return self.root / "tls" / "ca.pem"

    def as_json(self) -> dict[str, Any]:
        regions = [
            {"role": r.role, "region": r.region, "endpoint": r.endpoint}
            for r in self.regions
        ]
        return {
            "state": self.state,
            "regions": regions,
            "hostaddr": HOST,
            "port": self.port,
            "sslrootcert": str(self.sslrootcert),
            "credentials": self.credentials,
            "data": str(self.data),
            "assume": list(self.assume),
        }

    def environ(self, role: str = "primary") -> dict[str, str]:
        """The variables that point a process of that Region at the sandbox."""
        own = {r.role: r for r in self.regions}.get(role)
        peer = next((r.endpoint for r in self.regions if r.role != role), "")
        target = {"DSQL_ENDPOINT": "", "DSQL_PEER_ENDPOINT": ""}
        if own is not None:
            target = {
                "DSQL_ENDPOINT": own.endpoint,
                "DSQL_PEER_ENDPOINT": peer,
                "AWS_REGION": own.region,
            }
        return {
            **target,
            **self.credentials,
            TARGET_VARIABLE: "sandbox",
            FOLDER_VARIABLE: str(self.root),
            "AWS_ENDPOINT_URL_DSQL": f"http://{HOST}:{self.port}",
            "PGHOSTADDR": HOST,
            "PGPORT": str(self.port),
            "PGSSLROOTCERT": str(self.sslrootcert),
        }


def status(root: Path) -> Status:
    root = root.resolve()
    state = State.load(root)
    data = Postgres(root).home
    if state is None:
        return Status("absent", (), 0, root, data, {}, {})
    operator, *runtime = map(_credentials, state.keys)
    running = "running" if (root / "ready").exists() else "starting"
    word = running if _locked(root) else "stopped"
    serving = dict(zip(ROLES, runtime, strict=True))
    return Status(
        word, _serving(root), state.port, root, data, operator, serving, state.assume
    )


def _credentials(key: Key) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": key.access_key,
        "AWS_SECRET_ACCESS_KEY": key.secret_key,
    }


def is_alive(root: Path) -> bool:
    """Whether the sandbox runs, or is just starting."""
    return _locked(root.resolve())


def _serving(root: Path) -> tuple[Region, ...]:
    """The clusters that have the data, the primary first."""
    kept = load(root / CLUSTERS)
    found = [
        Region(cluster.tags.get("Role", ""), cluster.region, cluster.identifier)
        for cluster in kept["clusters"]
        if cluster.identifier in kept["holders"]
    ]
    return tuple(
        sorted(found, key=lambda region: (region.role != PRIMARY, region.role))
    )


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
    names = _known(assume)
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
        if not _locked(root):
            state = State.load(root)
            if state is None:
                save(root / CLUSTERS, *_initial(topology))
                state = State.new(port, OPERATOR, timing or Timing(), prefix)
            state.changed(
                port=port, job_delay=job_delay, durable=durable, assume=names
            ).save(root)
            _spawn(root)
    return _await(root)


def _known(assume: Collection[str] | None) -> frozenset[str] | None:
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
    if not _locked(root):
        if (root / "sandbox.json").exists():
            Postgres(root).stop()  # one that outlived a killed sandbox
        return False
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        os.kill(int((root / "pid").read_text()), signal.SIGTERM)
    if not _wait(lambda: not _locked(root), STOP_SECONDS):
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


def _locked(root: Path) -> bool:
    """Whether a daemon lives: it holds the lock until it ends, however it ends."""
    try:
        with (root / "lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
