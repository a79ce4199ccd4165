"""What the commands ``deploy`` and ``destroy`` share."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops.aws import AwsError
from ops.deploy.deployment import Deployment, StepFailed
from ops.deploy.options import Options
from ops.ownership import NotReady
from ops.topology import Topology


class DeploymentCommand(BaseCommand):
    """``announce`` says what is about to happen, ``work`` does it; refusals become CommandError."""

    requires_system_checks: list[str] = []
    yes_help = "do not ask"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--yes", action="store_true", help=self.yes_help)

    def handle(self, *args: Any, **options: Any) -> None:
        topology = Topology.from_environment()
        deployment = Deployment(topology, Options.from_environment(), self.stdout.write)
        self.stdout.write(
            self.announce(topology, " and ".join(topology.regions.values()))
        )
        try:
            self.work(deployment, **options)
        except (AwsError, NotReady, StepFailed) as error:
            raise CommandError(str(error)) from error

    def announce(self, topology: Topology, regions: str) -> str:
        raise NotImplementedError

    def work(self, deployment: Deployment, **options: Any) -> None:
        raise NotImplementedError
