from argparse import ArgumentParser
from contextlib import nullcontext
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops import localrun
from ops.clusters.database import RUNTIME_ROLE
from ops.issuer import Issuer, serving
from ops.localrun import CommandFailed, PortTaken, RegionServer
from ops.paths import ISSUER_KEY, SANDBOX
from ops.sandbox import envfile, lifecycle
from ops.sandbox.lifecycle import SandboxError
from ops.sandbox.postgres import PostgresError
from ops.sandbox.state import StateError
from ops.topology import Topology

HOSTS = ("localhost", localrun.HOST)  # what a browser on this machine may call us
TRY = """
Both Regions serve. Try, in another terminal:
  curl -i -X POST {first}/users -H 'Content-Type: application/json' \\
       -d '{{"name": "Ada Lovelace", "email": "ada@example.com"}}'
  curl {second}/users
  .venv/bin/python manage.py dsql_verify
Ctrl-C stops everything.
"""
TRY_OIDC = """
Both Regions ask for an access token. Try, in another terminal:
  TOKEN=$(.venv/bin/python manage.py api_token)
  curl -i {first}/users -H "Authorization: Bearer $TOKEN"
  curl -i {second}/users
Ctrl-C stops everything.
"""


class Command(BaseCommand):
    help = "Serve both Regions on this machine over the sandbox; Ctrl-C stops all."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--ports", nargs=2, type=int, default=(8000, 8001),
            metavar=("PRIMARY", "SECONDARY"), help="default: 8000 8001",
        )  # fmt: skip
        parser.add_argument(
            "--auth", choices=("none", "oidc"), default="none",
            help="oidc: ask for tokens of a development issuer; default: none",
        )  # fmt: skip

    def handle(
        self, *args: Any, ports: tuple[int, int], auth: str, **options: Any
    ) -> None:
        was_running = lifecycle.status(SANDBOX).state == "running"
        try:
            self._run(ports, auth)
        except (
            CommandFailed, PortTaken, SandboxError, StateError, PostgresError
        ) as error:  # fmt: skip
            raise CommandError(str(error)) from error
        finally:
            if not was_running and lifecycle.down(SANDBOX):
                self.stdout.write("Stopped the sandbox; its data stay.")

    def _run(self, ports: tuple[int, int], auth: str) -> None:
        for role, port in zip(("primary", "secondary"), ports, strict=True):
            localrun.require_free_port(RegionServer(role, "", port, {}))
        topology = Topology.from_environment()
        status = localrun.begin(topology, self.stdout.write, env_file=True)
        shared = envfile.variables(status)
        issuer = Issuer.load(ISSUER_KEY) if auth == "oidc" else None
        if issuer:
            localrun.require_free_port(RegionServer("issuer", "", issuer.port, {}))
            shared |= issuer.environ
        peers = dict(zip(("primary", "secondary"), reversed(ports), strict=True))
        origins = ",".join(f"http://{host}:{port}" for host in HOSTS for port in ports)
        servers = [
            # Each serves from its own Region with the rights it has in AWS; the peer's endpoint
            # is its way out only. Django's key is the same in both.
            RegionServer(
                region.role,
                region.region,
                port,
                {
                    **shared,
                    **status.environ(region.role),
                    **status.runtime[region.role],
                    "DSQL_USER": RUNTIME_ROLE,
                    "PEER_URL": f"http://{localrun.HOST}:{peers[region.role]}",
                    "CORS_ALLOWED_ORIGINS": origins,
                },
            )
            for region, port in zip(status.regions, ports, strict=True)
        ]
        for server in servers:
            self.stdout.write(f"{server.role:<10} {server.region:<10} {server.url}")
        first, second = (server.url for server in servers)
        hint = TRY_OIDC if issuer else TRY
        self.stdout.write(hint.format(first=first, second=second))
        with serving(issuer) if issuer else nullcontext():
            code = localrun.serve(servers, self.stdout.write)
        if code:
            raise SystemExit(code)
