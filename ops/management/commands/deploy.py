from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops.aws import AwsError
from ops.deploy.life import Life, StepFailed
from ops.deploy.options import Options
from ops.topology import Topology


class Command(BaseCommand):
    help = "Make or update clusters, stacks, database and functions of both Regions."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, yes: bool, **options: Any) -> None:
        topology = Topology.from_environment()
        regions = " and ".join(topology.regions.values())
        self.stdout.write(
            f"This deploys {topology.prefix} to {regions} (witness {topology.witness}): DSQL "
            f"clusters, runtime stacks, migrations, functions and APIs. AWS charges for them."
        )
        if not yes and input("Go on? [y/N] ").strip().lower() != "y":
            raise CommandError("Nothing was changed.")
        try:
            Life(topology, Options.from_environment(), self.stdout.write).deploy()
        except (AwsError, StepFailed) as error:
            raise CommandError(str(error)) from error
