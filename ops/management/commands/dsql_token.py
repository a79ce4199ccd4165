from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from config.dsql.credentials import CredentialsUnavailable, find_credentials
from config.dsql.tokens import Endpoint, parse_region, sign
from ops.clusters import inventory
from ops.clusters.command import ClusterCommand, seconds
from ops.target import manage
from ops.topology import ROLES, Topology


class Command(ClusterCommand):
    help = "Print an IAM token, which is a password: PGPASSWORD=$(manage.py dsql_token) psql ..."
    formats = ("text",)

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--role",
            choices=ROLES,
            default=ROLES[0],
            help="role of the Region (default: primary)",
        )
        parser.add_argument(
            "--user", default="admin", help="database role (default: admin)"
        )
        parser.add_argument(
            "--endpoint", default="", help="endpoint to use instead of the cluster's"
        )
        parser.add_argument(
            "--expires",
            type=seconds,
            default=900,
            help="lifetime in seconds (default: 900)",
        )

    def work(
        self,
        topology: Topology,
        *,
        role: str,
        user: str,
        endpoint: str,
        expires: float,
        **_: Any,
    ) -> None:
        host = endpoint or self._endpoint(topology, role)
        region = parse_region(host)
        if region is None:
            raise CommandError(
                f"--endpoint {host!r} names no Region; use <id>.dsql.<region>.on.aws."
            )
        try:
            credentials = find_credentials()
        except CredentialsUnavailable as error:
            raise CommandError(str(error)) from error
        self.stdout.write(sign(Endpoint(host, region, user), credentials, int(expires)))

    @staticmethod
    def _endpoint(topology: Topology, role: str) -> str:
        member = inventory.take(topology).members().get(role)
        if member is None:
            raise CommandError(
                f"No {role} cluster exists. First: {manage('dsql_provision')}"
            )
        return member.endpoint
