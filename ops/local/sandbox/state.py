"""What one sandbox is: its keys, port, timing and the like, kept in its directory."""

import json
import secrets
import socket
import string
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ops.files import write_private
from ops.local.sandbox.clusters import ACCOUNT, Timing
from ops.local.sandbox.signatures import Key
from ops.sandbox_status import STATE, unreadable
from ops.topology import ROLES

ALNUM = string.ascii_letters + string.digits
PORTS = range(20_000, 30_000)  # below the ports that systems hand out by themselves
JOB_DELAY = 0.05  # seconds


@dataclass(frozen=True, slots=True)
class State:
    keys: tuple[Key, ...]  # the operator's, then each Region's runtime role's
    port: int
    timing: Timing = field(default_factory=Timing)
    job_delay: float = JOB_DELAY  # seconds from a statement with ASYNC to its job
    durable: bool = True  # whether a commit waits until it outlives a crash
    assume: tuple[str, ...] = ()  # names of rules/assumptions.py

    @classmethod
    def new(
        cls, port: int, operator: tuple[str, ...], timing: Timing, prefix: str
    ) -> "State":
        keys = (
            _key("user/operator", operator),
            *(_key(f"role/{prefix}-{role}-runtime", ("DbConnect",)) for role in ROLES),
        )
        return cls(keys, port or free_port(), timing)

    @classmethod
    def load(cls, root: Path) -> "State | None":
        """The kept state, or None for a new directory. Raises StateError."""
        path = root / STATE
        if not path.exists():
            return None
        try:
            fields = json.loads(path.read_text())
            operator, first, second = (
                Key(**entry | {"actions": tuple(entry["actions"])})
                for entry in fields["keys"]
            )
            port, timing = int(fields["port"]), Timing(**fields["timing"])
            delay = float(fields["job_delay"])
            durable = bool(fields.get("durable", True))
            assume = tuple(fields.get("assume", ()))
        except (ValueError, KeyError, TypeError) as error:
            raise unreadable(path, error) from error
        return cls((operator, first, second), port, timing, delay, durable, assume)

    def save(self, root: Path) -> None:
        write_private(root / STATE, json.dumps(asdict(self), indent=2))

    def changed(
        self,
        *,
        port: int = 0,
        job_delay: float | None = None,
        durable: bool | None = None,
        assume: Collection[str] | None = None,
    ) -> "State":
        """A copy with these fields; 0 and None keep a field as it is."""
        return replace(
            self,
            port=port or self.port,
            job_delay=self.job_delay if job_delay is None else job_delay,
            durable=self.durable if durable is None else durable,
            assume=self.assume if assume is None else tuple(sorted(assume)),
        )

    def find_key(self, access_key: str) -> Key | None:
        return next((k for k in self.keys if k.access_key == access_key), None)


def load_job_delay(root: Path) -> float:
    """The delay of jobs as it is now kept. Raises StateError."""
    state = State.load(root)
    return state.job_delay if state is not None else 0.0


def _key(name: str, actions: tuple[str, ...]) -> Key:
    identifier = "".join(
        secrets.choice(string.ascii_uppercase + "234567") for _ in range(16)
    )
    secret = "".join(secrets.choice(ALNUM) for _ in range(40))
    return Key(f"AKIA{identifier}", secret, f"arn:aws:iam::{ACCOUNT}:{name}", actions)


def free_port() -> int:
    """A free port, from a range that no system assigns by itself."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
