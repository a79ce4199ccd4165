import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from ops.aws import AwsError
from ops.clusters import inventory
from ops.clusters.apply import Applier, ApplyError, Say
from ops.clusters.command import ClusterCommand, as_json, seconds, target
from ops.clusters.inventory import Inventory
from ops.paths import ENV_FILE
from ops.sandbox import envfile
from ops.target import manage
from ops.topology import Topology


class Command(ClusterCommand):
    help = (
        "Delete the clusters that carry our tags, with all their data. Lifts the deletion "
        "protection; safe to run again until nothing is left."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--dry-run", action="store_true", help="show what would go")
        parser.add_argument(
            "--prefix", default="", metavar="PREFIX",
            help="the CLUSTER_NAME_PREFIX whose clusters to delete",
        )  # fmt: skip
        parser.add_argument(
            "--yes", action="store_true", help="do not ask; needs --prefix"
        )
        parser.add_argument(
            "--timeout",
            type=seconds,
            default=900.0,
            help="of each wait; default: 900 s",
        )

    def work(
        self,
        topology: Topology,
        *,
        dry_run: bool,
        prefix: str,
        yes: bool,
        timeout: float,
        format: str,
        **_: Any,
    ) -> None:
        say = self.teller(format)
        if prefix and prefix != topology.prefix:
            raise CommandError(
                f"--prefix is {prefix!r}, but CLUSTER_NAME_PREFIX is {topology.prefix!r}: nothing "
                f"was deleted. Make them agree."
            )
        if yes and not prefix:
            raise CommandError(
                f"--yes needs --prefix {topology.prefix}, so nothing else goes."
            )
        found = inventory.take(topology)
        self._show(found, say)
        left = found
        if found.owned and not dry_run:
            if not yes:
                self._ask(topology)
            left = self._destroy(topology, found, timeout, say)
        elif dry_run:
            say("Dry run: nothing was changed.")
        if format == "json":
            answer = {
                "dry_run": dry_run,
                "clusters": [as_json(cluster) for cluster in found.owned],
                "left": [as_json(cluster) for cluster in left.owned],
            }
            self.stdout.write(json.dumps(answer, indent=2))

    def _show(self, found: Inventory, say: Say) -> None:
        say(target())
        if not found.owned:
            say(f"There is no cluster of {found.topology.prefix!r}: nothing to delete.")
        for cluster in found.owned:
            protected = "protected" if cluster.protected else "unprotected"
            say(
                f"delete  {cluster}, {protected}, made {cluster.created:%Y-%m-%d %H:%M}"
            )
        for arn in found.others:
            say(
                f"keep    {arn}: it does not carry our tags. A peered member of ours stays "
                f"PENDING_DELETE until it is deleted too."
            )

    def _ask(self, topology: Topology) -> None:
        answer = input(
            f"All data of these clusters will be lost. Type {topology.prefix} to go on: "
        )
        if answer.strip() != topology.prefix:
            raise CommandError("Nothing was deleted.")

    def _destroy(
        self, topology: Topology, found: Inventory, timeout: float, say: Say
    ) -> Inventory:
        try:
            Applier(topology, say, timeout).destroy(found.owned)
        except (ApplyError, AwsError, KeyboardInterrupt) as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            text = "Interrupted." if interrupted else str(error)
            raise CommandError(
                f"{text}\nWhat is left: {manage('dsql_status')}. To go on from there: {manage('dsql_destroy')}",
                returncode=130 if interrupted else 1,
            ) from error
        left = inventory.take(topology)
        if left.owned:
            names = ", ".join(map(str, left.owned))
            raise CommandError(
                f"Made meanwhile and left: {names}. To go on: {manage('dsql_destroy')}"
            )
        endpoints = dict.fromkeys(("DSQL_ENDPOINT", "DSQL_PEER_ENDPOINT"), "")
        if envfile.point_at(ENV_FILE, endpoints):
            say(f"Removed the endpoints from {ENV_FILE.name}.")
        say("Nothing is left.")
        return left
