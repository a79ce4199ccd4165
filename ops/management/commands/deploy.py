import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops.aws import AwsError
from ops.deploy.life import Life, StepFailed
from ops.deploy.options import NONE, Options
from ops.deploy.runtime import NO_BYTECODE
from ops.ownership import NotReady
from ops.prompt import agreed, ask
from ops.topology import Topology


class Command(BaseCommand):
    help = "Make or update clusters, stacks, database and functions of both Regions."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--yes", action="store_true",
            help="do not ask; where API_AUTH is none, needs --access none",
        )  # fmt: skip
        parser.add_argument(
            "--access", default="", metavar="API_AUTH",
            help="confirm who may call by naming the choice",
        )  # fmt: skip
        parser.add_argument(
            "--no-bytecode", action="store_true",
            help="ship without bytecode where no Python of the functions' version runs; "
            "cold starts take three times as long",
        )  # fmt: skip

    def handle(
        self, *args: Any, yes: bool, access: str, no_bytecode: bool, **_: Any
    ) -> None:
        if no_bytecode:
            os.environ[NO_BYTECODE] = "1"  # zappa's, which is a process of its own
        topology, options = Topology.from_environment(), Options.from_environment()
        regions = " and ".join(topology.regions.values())
        self.stdout.write(
            f"This deploys {topology.prefix} to {regions} (witness {topology.witness}): DSQL "
            f"clusters, runtime stacks, migrations, functions and APIs. AWS charges for them."
        )
        try:
            Life(topology, options, self.stdout.write).deploy(
                lambda: confirm(options.access, yes=yes, named=access)
            )
        except (AwsError, NotReady, StepFailed) as error:
            raise CommandError(str(error)) from error


def confirm(access: str, *, yes: bool, named: str) -> None:
    """Raise CommandError unless the operator goes on; letting everyone in is named."""
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
