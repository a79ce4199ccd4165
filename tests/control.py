"""A control plane on a loopback port, without its daemon; time is the test's."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import boto3
from botocore.config import Config

from ops.local.sandbox.clusters import Cluster, Timing
from ops.local.sandbox.control import ACTIONS, Control, find_api_fault
from ops.local.sandbox.control_server import ControlServer
from ops.local.sandbox.faults import Fault, Faults
from ops.local.sandbox.signatures import Key

EAST, OHIO, OREGON = "us-east-1", "us-east-2", "us-west-2"
TIMING = Timing(create=10, update=5, delete=20, idle=100, inactive=1000)
SESSION = boto3.Session()
ALL = ("DbConnectAdmin", *ACTIONS)


@dataclass
class World:
    """A control plane on a loopback port; ``now`` is its clock."""

    folder: Path
    port: int
    now: float = 1_000_000.0
    timing: Timing = TIMING
    faults: Faults = field(default_factory=Faults)
    keys: dict[str, Key] = field(default_factory=dict)
    clients: dict[tuple[str, str], Any] = field(default_factory=dict)
    cleared: int = 0
    clear_fails: bool = False
    control: Control = field(init=False)

    def __post_init__(self) -> None:
        self.keys["AKIAOPERATOR"] = Key(
            "AKIAOPERATOR", "s3cret", "arn:aws:iam::1:user/o", ALL
        )
        self.restart()

    def restart(self) -> None:
        self.control = Control(
            self.folder / "clusters.json",
            self.timing,
            clock=lambda: self.now,
            clear=self._clear,
            fault=lambda action, region: find_api_fault(self.faults, action, region),
        )

    def reset(self) -> None:
        """Begin again without a cluster, a client token or a fault."""
        (self.folder / "clusters.json").unlink(missing_ok=True)
        self.faults.clear()
        self.restart()

    def _clear(self) -> None:
        if self.clear_fails:
            raise OSError("busy")
        self.cleared += 1

    def client(self, region: str = EAST, key: str = "AKIAOPERATOR") -> Any:
        if (region, key) not in self.clients:
            known = self.keys.get(key)
            self.clients[region, key] = SESSION.client(
                "dsql",
                region_name=region,
                endpoint_url=f"http://127.0.0.1:{self.port}",
                aws_access_key_id=key,
                aws_secret_access_key=known.secret_key if known else "?",
                config=Config(retries={"total_max_attempts": 1}),
            )
        return self.clients[region, key]

    @property
    def written(self) -> str:
        """What is kept of the clusters."""
        return (self.folder / "clusters.json").read_text()

    @property
    def clusters(self) -> list[Cluster]:
        self.control.refresh()
        return list(self.control.fleet)

    def fault(self, kind: str, action: str = "", *, region: str = "") -> None:
        """Let it go wrong once."""
        self.faults.add(Fault(kind, region=region, client=action, times=1))

    def status(self, found: dict[str, Any]) -> str:
        region = found["arn"].split(":")[3]
        client = self.client(region)
        return str(client.get_cluster(identifier=found["identifier"])["status"])

    def peered(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Two clusters made in the order of the user guide, ACTIVE."""
        first = self.client(EAST).create_cluster(
            multiRegionProperties={"witnessRegion": OREGON},
            deletionProtectionEnabled=False,
        )
        second = self.client(OHIO).create_cluster(
            multiRegionProperties={"witnessRegion": OREGON, "clusters": [first["arn"]]},
            deletionProtectionEnabled=False,
        )
        self.client(EAST).update_cluster(
            identifier=first["identifier"],
            multiRegionProperties={
                "witnessRegion": OREGON,
                "clusters": [second["arn"]],
            },
        )
        self.now += self.timing.create
        return first, second


@dataclass
class Current:
    """The world's control plane of the moment, which a restart replaces."""

    world: World

    def call(self, *arguments: Any) -> Any:
        return self.world.control.call(*arguments)


@contextmanager
def serve(tmp_path: Path, timing: Timing = TIMING) -> Iterator[World]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = World(tmp_path, listener.getsockname()[1], timing=timing)
        server = ControlServer(cast("Control", Current(made)), made.keys.get)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                server.serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield made
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
