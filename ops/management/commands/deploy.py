import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from ops.deploy.command import DeploymentCommand
from ops.deploy.deployment import Deployment
from ops.deploy.options import NONE
from ops.deploy.runtime import NO_BYTECODE
from ops.prompt import agreed, ask
from ops.topology import Topology


class Command(DeploymentCommand):
    help = (
        "Create or update the clusters, stacks, database and functions of both Regions."
    )
    yes_help = "do not ask; where API_AUTH is none, needs --access none"

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--access", default="", metavar="API_AUTH",
            help="confirm who may call by repeating the value of API_AUTH",
        )  # fmt: skip
        parser.add_argument(
            "--no-bytecode", action="store_true",
            help="ship without bytecode where no Python of the functions' version runs; "
            "cold starts take three times as long",
        )  # fmt: skip

    def handle(self, *args: Any, no_bytecode: bool, **options: Any) -> None:
        if no_bytecode:
            os.environ[NO_BYTECODE] = "1"  # for zappa, which is a process of its own
        super().handle(*args, **options)

    def announce(self, topology: Topology, regions: str) -> str:
        return (
            f"This deploys {topology.prefix} to {regions} (witness {topology.witness}): DSQL "
            f"clusters, runtime stacks, migrations, functions and APIs. AWS charges for them."
        )

    def work(
        self, deployment: Deployment, *, yes: bool = False, access: str = "", **_: Any
    ) -> None:
        chosen = deployment.options.access
        deployment.deploy(lambda: confirm(chosen, yes=yes, named=access))


def confirm(access: str, *, yes: bool, named: str) -> None:
    """Raise CommandError unless the operator agrees; letting everyone in must be named."""
    if named and named != access:
        raise CommandError(
            f"--access is {named}, but API_AUTH is {access}: nothing was changed."
        )
    if access != NONE:
        if not yes and not agreed("Go on? [y/N] "):
            raise CommandError("Nothing was changed.")
    elif yes:
        if not named:
            raise CommandError(
                "API_AUTH is none, which lets everyone in: nothing was changed. Confirm it "
                "with --access none, or set API_AUTH=oidc."
            )
    elif ask("Type none to go on and let everyone in: ") != NONE:
        raise CommandError("Nothing was changed.")
