"""What one sandbox is: its clusters, keys and port, kept in its folder."""

import json
import os
import secrets
import socket
import string
from dataclasses import asdict, dataclass
from pathlib import Path

from ops.sandbox.tokens import Key

ACCOUNT = "123456789012"
ROLES = ("primary", "secondary")
BASE36 = string.ascii_lowercase + string.digits
ALNUM = string.ascii_letters + string.digits
PORTS = range(20_000, 30_000)  # below the ports that systems hand out by themselves


class StateError(Exception):
    """The folder holds something that is not a sandbox of this version."""


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
class State:
    regions: tuple[Region, ...]
    keys: tuple[Key, ...]  # the first is the operator's
    port: int

    @classmethod
    def new(cls, regions: tuple[str, str], port: int) -> "State":
        found = tuple(
            Region(role, region, "".join(secrets.choice(BASE36) for _ in range(26)))
            for role, region in zip(ROLES, regions, strict=True)
        )
        operator = _key("user/operator", ("DbConnect", "DbConnectAdmin"))
        runtime = _key("role/runtime", ("DbConnect",))
        return cls(found, (operator, runtime), port or free_port())

    @classmethod
    def load(cls, root: Path) -> "State | None":
        """The kept state, or None for a new folder. Raises StateError."""
        path = root / "sandbox.json"
        if not path.exists():
            return None
        try:
            kept = json.loads(path.read_text())
            primary, secondary = (Region(**entry) for entry in kept["regions"])
            operator, *others = (
                Key(**entry | {"actions": tuple(entry["actions"])})
                for entry in kept["keys"]
            )
            port = int(kept["port"])
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(
                f"{path} cannot be read ({error!r}): run `manage.py sandbox reset`."
            ) from error
        return cls((primary, secondary), (operator, *others), port)

    def save(self, root: Path) -> None:
        write_private(root / "sandbox.json", json.dumps(asdict(self), indent=2))

    def find_key(self, access_key: str) -> Key | None:
        return next((k for k in self.keys if k.access_key == access_key), None)


def _key(name: str, actions: tuple[str, ...]) -> Key:
    identifier = "".join(
        secrets.choice(string.ascii_uppercase + "234567") for _ in range(16)
    )
    secret = "".join(secrets.choice(ALNUM) for _ in range(40))
    return Key(f"AKIA{identifier}", secret, f"arn:aws:iam::{ACCOUNT}:{name}", actions)


def free_port() -> int:
    """A port nobody listens on now, from a range no system hands out by itself."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def write_private(path: Path, content: str) -> None:
    """Replace the file at once; only its owner may read it."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT, 0o600), "w") as out:
        out.write(content)
    partial.replace(path)
