import json
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops.aws import AwsError
from ops.clusters import inventory
from ops.policies import PURPOSES, Scope
from ops.topology import Topology


def account_id(text: str) -> str:
    if text.isdigit() and len(text) == 12:
        return text
    raise ArgumentTypeError(f"{text!r} is not an account id of 12 digits")


class Command(BaseCommand):
    help = "Print the IAM policy that a kind of work needs, as JSON."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("purpose", choices=tuple(PURPOSES))
        parser.add_argument(
            "--account", type=account_id,
            help="needed while there is no cluster; with it no call to AWS is made",
        )  # fmt: skip
        parser.add_argument("--partition", default="aws")
        parser.add_argument("--single-region", action="store_true")

    def handle(
        self,
        *args: Any,
        purpose: str,
        account: str | None,
        partition: str,
        single_region: bool,
        **options: Any,
    ) -> None:
        topology = Topology.from_environment(single_region=single_region)
        arns: dict[str, str] = {}
        if account is None:
            try:
                members = inventory.take(topology).members()
            except AwsError as error:
                raise CommandError(
                    f"{error}\nOr name the account: --account ID"
                ) from error
            if not members:
                raise CommandError(
                    "There is no cluster yet: name the account, --account ID."
                )
            account = next(iter(members.values())).account
            arns = {role: cluster.arn for role, cluster in members.items()}
        scope = Scope(topology, account, arns, partition)
        self.stdout.write(json.dumps(PURPOSES[purpose](scope), indent=2))
