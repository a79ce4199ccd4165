import errno
import signal
import threading
from argparse import ArgumentParser
from collections.abc import Collection, Mapping
from contextlib import nullcontext, suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops.clusters.database import RUNTIME_ROLE
from ops.local import envfile, processes, supervisor
from ops.local.issuer import Issuer, serving
from ops.local.ports import port_number
from ops.local.processes import CommandFailed, Interrupted, PortTaken, RegionServer
from ops.local.run_lock import AlreadyRunning, only_run
from ops.local.sandbox import lifecycle
from ops.local.sandbox.lifecycle import SandboxError, Status
from ops.local.sandbox.postgres import PostgresError
from ops.local.supervisor import NeverServed, SupervisedSandbox
from ops.paths import ISSUER_KEY, SANDBOX
from ops.sandbox_status import StateError
from ops.topology import ROLES, Topology

HOSTS = ("localhost", processes.HOST)  # what a browser on this machine may call us
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BOTH = """
Both Regions serve. Try, in another terminal:
  curl -i -X POST {first}/users -H 'Content-Type: application/json' \\
       -d '{{"name": "Ada Lovelace", "email": "ada@example.com"}}'
  curl {second}/users
  .venv/bin/python manage.py dsql_verify
Ctrl-C stops everything.
"""
BOTH_OIDC = """
Both Regions ask for an access token. Try, in another terminal:
  TOKEN=$(.venv/bin/python manage.py api_token)
  curl -i {first}/users -H "Authorization: Bearer $TOKEN"
  curl -i {second}/users
Ctrl-C stops everything.
"""
ONE = """
Only one Region serves, as after the loss of the other's API. Try, in another terminal:
  curl -i {first}/health
What a client does then is in docs/one-region-lost.md.
Ctrl-C stops everything.
"""


DISK_IS_FULL = {errno.EDQUOT, errno.EFBIG, errno.ENOSPC}


class Command(BaseCommand):
    help = "Serve both Regions on this machine over the sandbox; Ctrl-C stops all."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--ports", nargs=2, type=port_number, default=(8000, 8001),
            metavar=("PRIMARY", "SECONDARY"), help="default: 8000 8001",
        )  # fmt: skip
        parser.add_argument(
            "--auth", choices=("none", "oidc"), default="none",
            help="oidc: ask for tokens of a development issuer; default: none",
        )  # fmt: skip
        parser.add_argument(
            "--without", choices=ROLES, action="append", default=[],
            help="do not serve this Region, to show the loss of its API",
        )  # fmt: skip

    def handle(
        self,
        *args: Any,
        ports: tuple[int, int],
        auth: str,
        without: list[str],
        **options: Any,
    ) -> None:
        served = select_served(ports, without)
        urls = [f"http://{processes.HOST}:{port}" for port in served.values()]
        self._stop = threading.Event()
        note_signals(self._stop)
        try:
            runs = lifecycle.status(SANDBOX).state == "running"
            with only_run(SANDBOX, urls, sandbox_runs=runs) as claim:
                try:
                    self._run(ports, served, auth)
                finally:
                    if claim.owns_sandbox and lifecycle.down(SANDBOX):
                        self._say("Stopped the sandbox; its data stay.")
        except (
            CommandFailed, NeverServed, PortTaken, PostgresError, SandboxError, StateError
        ) as error:  # fmt: skip
            raise CommandError(str(error)) from error
        except AlreadyRunning as error:
            raise CommandError(describe_other(error, served)) from error

    def _say(self, line: str) -> None:
        """Print a line; when nobody reads on (a closed terminal, ``| head``), stop.

        A full disk loses lines, and ends nothing.
        """
        try:
            self.stdout.write(line)
            self.stdout.flush()
        except OSError as error:
            if error.errno not in DISK_IS_FULL:
                self._stop.set()

    def _run(self, ports: tuple[int, int], served: dict[str, int], auth: str) -> None:
        topology = Topology.from_environment()
        issuer = Issuer.load(ISSUER_KEY) if auth == "oidc" else None
        require_free_ports(served | ({"issuer": issuer.port} if issuer else {}))
        with suppress(Interrupted), serving(issuer) if issuer else nullcontext():
            status = processes.begin(topology, self._say, stop=self._stop)
            extra = issuer.environ if issuer else {}
            servers = region_servers(status, ports, extra)
            sandbox = SupervisedSandbox(SANDBOX, topology.prefix, self._say)
            self._serve([s for s in servers if s.role in served], sandbox, auth)

    def _serve(
        self, servers: list[RegionServer], sandbox: SupervisedSandbox, auth: str
    ) -> None:
        for server in servers:
            self._say(f"{server.role:<10} {server.region:<10} {server.url}")
        hint = ONE if len(servers) == 1 else BOTH_OIDC if auth == "oidc" else BOTH
        first, second = servers[0].url, servers[-1].url

        def announce() -> None:
            self._say(hint.format(first=first, second=second))

        supervisor.serve(servers, sandbox, self._say, self._stop, announce)


def select_served(ports: tuple[int, int], without: Collection[str]) -> dict[str, int]:
    """The port of each Region to serve. Raises CommandError when none is left."""
    served = {
        role: port
        for role, port in zip(ROLES, ports, strict=True)
        if role not in without
    }
    if not served:
        raise CommandError(
            "--without names both Regions, so there is nothing to serve; leave one out."
        )
    return served


def require_free_ports(ports: Mapping[str, int]) -> None:
    """Raise PortTaken with the way out when one is in use, or asked for twice."""
    if len(set(ports.values())) < len(ports):
        asked = ", ".join(f"{role} {port}" for role, port in ports.items())
        raise PortTaken(f"Each needs a port of its own: {asked}.")
    others = " ".join(str(port + 10) for port in list(ports.values())[:2])
    for role, port in ports.items():
        try:
            processes.require_free_port(role, port)
        except PortTaken as error:
            choose = f", or choose others: manage.py run --ports {others}"
            raise PortTaken(
                f"{error} Stop what listens there{choose if role in ROLES else '.'}"
            ) from error


def describe_other(other: AlreadyRunning, ports: Mapping[str, int]) -> str:
    """Name the other run, and which of the ports it has if it has one."""
    try:
        for role, port in ports.items():
            processes.require_free_port(role, port)
    except PortTaken as taken:
        return f"{taken} {other}"
    return f"{other} Both would use the same sandbox."


def note_signals(stop: threading.Event) -> None:
    """Only note that the user wants to stop: every step ends or undoes what it began."""
    for number in STOP_SIGNALS:
        # nohup wants to outlive the terminal. A background shell ignores SIGINT too, but
        # nothing else would stop what runs there.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: stop.set())


def region_servers(
    status: Status, ports: tuple[int, int], extra: dict[str, str]
) -> list[RegionServer]:
    """Each serves from its own Region with the rights it has in AWS.

    The peer's endpoint is its way out only. Django's key is the same in both.
    """
    shared = envfile.variables(status) | extra
    peers = dict(zip(ROLES, reversed(ports), strict=True))
    origins = ",".join(f"http://{host}:{port}" for host in HOSTS for port in ports)
    return [
        RegionServer(
            region.role,
            region.region,
            port,
            {
                **shared,
                **status.environ(region.role),
                **status.runtime[region.role],
                "DSQL_USER": RUNTIME_ROLE,
                "PEER_URL": f"http://{processes.HOST}:{peers[region.role]}",
                "CORS_ALLOWED_ORIGINS": origins,
            },
        )
        for region, port in zip(status.regions, ports, strict=True)
    ]
