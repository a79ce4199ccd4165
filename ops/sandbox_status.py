"""What a sandbox's directory says about it: whether it runs, where, and with which keys.

Read by whatever has to tell the sandbox from AWS; only ``ops.local.sandbox`` writes there.
"""

import fcntl
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.topology import PRIMARY, ROLES

HOST = "127.0.0.1"
STATE, CLUSTERS, READY, LOCK = "sandbox.json", "clusters.json", "ready", "lock"
# They say which sandbox the other variables of a process belong to.
TARGET_VARIABLE, DIRECTORY_VARIABLE = "TARGET", "DSQL_SANDBOX"


class StateError(Exception):
    """The directory holds something that is not a sandbox of this version."""


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
    credentials: dict[str, str]  # the operator's
    runtime: dict[str, dict[str, str]]  # by role: those that serve it
    assume: tuple[str, ...] = ()  # where sources differ

    @property
    def sslrootcert(self) -> Path:
        return self.root / "tls" / "ca.pem"

    def environ(self, role: str = PRIMARY) -> dict[str, str]:
        """The variables that point a process of that Region at the sandbox."""
        local = {r.role: r for r in self.regions}.get(role)
        peer = next((r.endpoint for r in self.regions if r.role != role), "")
        target = {"DSQL_ENDPOINT": "", "DSQL_PEER_ENDPOINT": ""}
        if local is not None:
            target = {
                "DSQL_ENDPOINT": local.endpoint,
                "DSQL_PEER_ENDPOINT": peer,
                "AWS_REGION": local.region,
            }
        return {
            **target,
            **self.credentials,
            TARGET_VARIABLE: "sandbox",
            DIRECTORY_VARIABLE: str(self.root),
            "AWS_ENDPOINT_URL_DSQL": f"http://{HOST}:{self.port}",
            "PGHOSTADDR": HOST,
            "PGPORT": str(self.port),
            "PGSSLROOTCERT": str(self.sslrootcert),
        }


def status(root: Path) -> Status:
    """Raises StateError."""
    root = root.resolve()
    path = root / STATE
    if not path.exists():
        return Status("absent", (), 0, root, {}, {})
    try:
        kept = json.loads(path.read_text())
        operator, *runtime = map(_credentials, kept["keys"])
        serving = dict(zip(ROLES, runtime, strict=True))
        port, assume = int(kept["port"]), tuple(kept.get("assume", ()))
    except (ValueError, KeyError, TypeError) as error:
        raise unreadable(path, error) from error
    running = "running" if (root / READY).exists() else "starting"
    state = running if is_alive(root) else "stopped"
    return Status(state, _serving(root), port, root, operator, serving, assume)


def unreadable(path: Path, error: Exception) -> StateError:
    return StateError(
        f"{path} cannot be read ({error!r}): run `manage.py sandbox reset`."
    )


def is_alive(root: Path) -> bool:
    """Whether a daemon lives: it holds the lock until it ends, however it ends."""
    try:
        with (root.resolve() / LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _credentials(key: Mapping[str, Any]) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": key["access_key"],
        "AWS_SECRET_ACCESS_KEY": key["secret_key"],
    }


def _serving(root: Path) -> tuple[Region, ...]:
    """The clusters that have the data, the primary first."""
    path = root / CLUSTERS
    kept = json.loads(path.read_text()) if path.exists() else {}
    found = [
        Region(
            cluster.get("tags", {}).get("Role", ""),
            cluster["region"],
            cluster["identifier"],
        )
        for cluster in kept.get("clusters", ())
        if cluster["identifier"] in kept.get("holders", ())
    ]
    return tuple(
        sorted(found, key=lambda region: (region.role != PRIMARY, region.role))
    )
