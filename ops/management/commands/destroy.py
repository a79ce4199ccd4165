from typing import Any

from django.core.management.base import CommandError

from ops.deploy.command import DeploymentCommand
from ops.deploy.deployment import Deployment
from ops.prompt import ask
from ops.topology import Topology


class Command(DeploymentCommand):
    help = (
        "Delete everything that `deploy` created in both Regions, including all data."
    )

    def announce(self, topology: Topology, regions: str) -> str:
        return f"What exists of {topology.prefix} in {regions}:"

    def work(self, deployment: Deployment, *, yes: bool = False, **_: Any) -> None:
        prefix = deployment.topology.prefix

        def confirm() -> None:
            self.stdout.write("This deletes all of it. All data will be lost.")
            if not yes and ask(f"Type {prefix} to go on: ") != prefix:
                raise CommandError("Nothing was deleted.")

        deployment.destroy(confirm)
