"""Both Regions as HTTP servers over a sandbox of their own."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.local import envfile, processes
from ops.local.processes import HOST, RegionServer
from ops.local.sandbox import lifecycle
from ops.local.sandbox.fault_control import FaultClient
from tests.checkout import free_ports

START_SECONDS = 60.0
SETTINGS = "tests.campaign.settings"


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    database_region: str | None  # named when the peer's endpoint serves


@dataclass
class Client:
    """One keep-alive connection to one Region, as one user of the API holds it."""

    port: int
    _http: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self._http = http.client.HTTPConnection(HOST, self.port, timeout=60)

    def send(self, method: str, path: str, body: Any = None) -> Answer:
        """Raises OSError or http.client.HTTPException when no answer comes."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        content = None if body is None else json.dumps(body)
        try:
            self._http.request(method, path, content, headers)
            answer = self._http.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        return Answer(
            answer.status,
            json.loads(text) if text else None,
            answer.headers.get("X-Database-Region"),
        )

    def close(self) -> None:
        self._http.close()


@dataclass(frozen=True)
class Regions:
    servers: tuple[RegionServer, ...]
    switch: FaultClient
    names: tuple[str, ...]
    processes: tuple[int, ...]

    def clients(self) -> tuple[Client, ...]:
        """A new client of each Region."""
        return tuple(Client(server.port) for server in self.servers)


@contextmanager
def regions(root: Path, settings: str = SETTINGS) -> Iterator[Regions]:
    """Serve both Regions from a new sandbox in ``root``, which is removed at the end."""
    with ExitStack() as stack:
        stack.callback(lifecycle.reset, root)
        yield stack.enter_context(serving(lifecycle.up(root), settings))


@contextmanager
def serving(status: lifecycle.Status, settings: str = SETTINGS) -> Iterator[Regions]:
    """Serve both Regions of a running sandbox; what they say goes into servers.log."""
    shared = envfile.variables(status)
    servers = tuple(
        RegionServer(
            region.role,
            region.region,
            port,
            {
                **shared,
                **status.environ(region.role),
                "DJANGO_SETTINGS_MODULE": settings,
                "API_RATE_LIMIT": "0",  # all clients have one address
            },
        )
        for region, port in zip(status.regions, free_ports(2), strict=True)
    )
    with (status.root / "servers.log").open("w") as log:

        def say(line: str) -> None:
            print(line, file=log)

        processes.manage("migrate", servers[0].environ, say)
        with processes.running(servers, say) as children:
            for server in servers:
                _await(Client(server.port))
            names = tuple(region.region for region in status.regions)
            pids = tuple(child.pid for child in children)
            yield Regions(servers, FaultClient(status.root), names, pids)


def _await(client: Client) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if client.send("GET", "/health/live").status == 200:
                client.close()
                return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"No server on port {client.port} after {START_SECONDS:.0f} s.")
