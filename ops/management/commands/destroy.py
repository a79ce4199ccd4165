from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops.aws import AwsError
from ops.deploy.life import Life, StepFailed
from ops.deploy.options import Options
from ops.ownership import NotReady
from ops.prompt import ask
from ops.topology import Topology


class Command(BaseCommand):
    help = "Delete what `deploy` made in both Regions, with all data."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, yes: bool, **options: Any) -> None:
        topology = Topology.from_environment()
        regions = " and ".join(topology.regions.values())
        self.stdout.write(f"What there is of {topology.prefix} in {regions}:")

        def confirm() -> None:
            self.stdout.write("This deletes all of it. All data are lost.")
            if not yes and ask(f"Type {topology.prefix} to go on: ") != topology.prefix:
                raise CommandError("Nothing was deleted.")

        try:
            Life(topology, Options.from_environment(), self.stdout.write).destroy(
                confirm
            )
        except (AwsError, NotReady, StepFailed) as error:
            raise CommandError(str(error)) from error
