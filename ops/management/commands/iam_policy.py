import json
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops.aws import AwsError
from ops.clusters import inventory
from ops.clusters.command import add_target, keys_by_role
from ops.clusters.inventory import Cluster
from ops.deploy.options import ZAPPA_SETTINGS, uses_vpc
from ops.policies import NOTES, PURPOSES, Scope
from ops.policies.document import MAX_MANAGED, in_parts, size
from ops.topology import PRIMARY, ROLES, Topology


def account_id(text: str) -> str:
    if text.isdigit() and len(text) == 12:
        return text
    raise ArgumentTypeError(f"{text!r} is not an account id of 12 digits")


class Command(BaseCommand):
    help = (
        "Print the IAM policy for a purpose as JSON, and on standard error what its holder can "
        "do with it."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("purpose", choices=tuple(PURPOSES))
        parser.add_argument(
            "--account", type=account_id,
            help="account id; needed before clusters exist, and no call to AWS is made then",
        )  # fmt: skip
        add_target(parser)
        parser.add_argument("--partition", default="aws")
        parser.add_argument("--single-region", action="store_true")
        parser.add_argument(
            "--role", choices=ROLES, default=PRIMARY,
            help="function whose IAM role is printed, for runtime and trust",
        )  # fmt: skip
        parser.add_argument(
            "--kms-key", action="append", default=[], metavar="[ROLE=]KEY",
            help="as for dsql_provision (default: the keys of the clusters)",
        )  # fmt: skip
        parser.add_argument(
            "-s", "--settings-file", type=Path, default=ZAPPA_SETTINGS,
            help="as for stack deploy; its vpc_config decides what the IAM role may do",
        )  # fmt: skip
        parser.add_argument(
            "--part", type=int, metavar="N",
            help=f"print only part N: a managed policy holds {MAX_MANAGED:,} characters",
        )  # fmt: skip

    def handle(
        self,
        *args: Any,
        purpose: str,
        account: str | None,
        partition: str,
        single_region: bool,
        role: str,
        kms_key: list[str],
        settings_file: Path,
        part: int | None,
        **options: Any,
    ) -> None:
        topology = Topology.from_environment(single_region=single_region)
        members = {} if account else self._members(topology)
        keys = {role: c.kms_key for role, c in members.items() if c.kms_key}
        scope = Scope(
            topology,
            account or next(iter(members.values())).account,
            {role: cluster.arn for role, cluster in members.items()},
            partition,
            {**keys, **keys_by_role(topology, kms_key)},
            role,
            uses_vpc(role, settings_file),
        )
        document = PURPOSES[purpose](scope)
        parts = in_parts(document)
        if part is not None and not 1 <= part <= len(parts):
            raise CommandError(f"--part {part}: {purpose} has {len(parts)} part(s).")
        self.stdout.write(
            json.dumps(document if part is None else parts[part - 1], indent=2)
        )
        self.stderr.write(NOTES[purpose].format(prefix=topology.prefix))
        if part is None and len(parts) > 1:
            self.stderr.write(
                f"It has {size(document):,} characters, and a managed policy holds "
                f"{MAX_MANAGED:,}: create {len(parts)} policies, --part 1 to {len(parts)}."
            )

    def _members(self, topology: Topology) -> dict[str, Cluster]:
        try:
            members = inventory.take(topology).members()
        except AwsError as error:
            raise CommandError(f"{error}\nOr name the account: --account ID") from error
        if not members:
            raise CommandError(
                "No cluster exists yet: name the account with --account ID."
            )
        return members
