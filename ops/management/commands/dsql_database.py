import json
import os
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import DatabaseError

from ops.clusters import inventory
from ops.clusters.command import ClusterCommand, target
from ops.clusters.database import (
    ROLE_ARN,
    RUNTIME_ROLE,
    connected,
    prepare,
    runtime_arn,
)
from ops.clusters.inventory import READY, Cluster
from ops.ownership import NotReady
from ops.stacks.runtime import RuntimeStack
from ops.target import AWS, VARIABLE, manage
from ops.topology import PRIMARY, Topology


def role_arn(text: str) -> str:
    if ROLE_ARN.fullmatch(text):
        return text
    raise ArgumentTypeError(
        f"{text!r} is not the ARN of an IAM role or user, such as "
        f"arn:aws:iam::123456789012:role/name (not an assumed role's)"
    )


def _runtime_arns(topology: Topology, members: Mapping[str, Cluster]) -> list[str]:
    """The roles that our runtime stacks made: a role of that name may not be ours.

    The sandbox has no stacks; its roles have the names that those would have.
    """
    if os.environ.get(VARIABLE) != AWS:
        return [runtime_arn(topology, *member) for member in members.items()]
    arns = []
    for role, region in topology.regions.items():
        try:
            outputs = RuntimeStack(topology, role).outputs()
        except NotReady as error:
            raise CommandError(str(error)) from error
        if outputs is None:
            raise CommandError(
                f"{region}: no complete runtime stack exists, whose role would be mapped. "
                f"First: manage.py stack deploy --role {role} (or name the roles: --role-arn)"
            )
        arns.append(outputs["RoleArn"])
    return arns


class Command(ClusterCommand):
    help = (
        "Migrate the database of both Regions as admin, and give the runtime role its rights. "
        "Run it after every change of the models; what exists already stays as it is."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--role-arn", action="append", type=role_arn, metavar="ARN",
            help="IAM role that may connect as the runtime role; all other mappings are revoked "
            "(default: the roles that the runtime stacks made)",
        )  # fmt: skip

        parser.add_argument(
            "--remap", action="store_true",
            help="revoke and grant the mapping again; needed when an IAM role was deleted "
            "and created again, because its ARN then stands for another identity",
        )  # fmt: skip

    def work(
        self,
        topology: Topology,
        *,
        role_arn: list[str] | None,
        remap: bool,
        format: str,
        **_: Any,
    ) -> None:
        say = self.progress_printer(format)
        say(target())
        members = inventory.take(topology).members()
        for role, region in topology.regions.items():
            status = members[role].status if role in members else "missing"
            if status not in READY:
                raise CommandError(
                    f"{region}: the cluster is {status}. First: {manage('dsql_provision')}"
                )
        arns = role_arn or _runtime_arns(topology, members)
        endpoint = members[PRIMARY].endpoint
        say(f"Migrating through {endpoint}, once for both Regions ...")
        try:
            with connected(endpoint) as alias:
                changes = prepare(
                    alias, arns, say, remap=remap, verbosity=int(format == "text")
                )
        except (DatabaseError, ImproperlyConfigured) as error:
            text = " ".join(str(error).split())
            raise CommandError(
                f"{endpoint}: {text}\nEarlier changes stay; to continue: "
                + manage("dsql_database")
            ) from error
        say(
            f"The role {RUNTIME_ROLE} has its rights; {changes} changed. Next: "
            + manage("dsql_verify")
        )
        if format == "json":
            result = {"role": RUNTIME_ROLE, "mapped": arns, "changes": changes}
            self.stdout.write(json.dumps(result, indent=2))
