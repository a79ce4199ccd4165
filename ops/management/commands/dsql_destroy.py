import json
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError

from ops import target_file
from ops.aws import AwsError
from ops.clusters import inventory
from ops.clusters.apply import Applier, ApplyError, Say
from ops.clusters.command import ClusterCommand, as_json, seconds, target
from ops.clusters.inventory import Cluster, Inventory
from ops.paths import ENV_FILE
from ops.prompt import ask
from ops.target import manage
from ops.topology import Topology


class Command(ClusterCommand):
    help = (
        "Delete the clusters that carry our tags, with all their data. Lifts the deletion "
        "protection. Safe to run again until nothing is left."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="show what would be deleted"
        )
        parser.add_argument(
            "--prefix", default="", metavar="PREFIX",
            help="prefix of the clusters to delete; must equal CLUSTER_NAME_PREFIX",
        )  # fmt: skip
        parser.add_argument(
            "--yes", action="store_true", help="do not ask; needs --prefix"
        )
        parser.add_argument(
            "--cluster", action="append", default=[], metavar="IDENTIFIER",
            help="delete only this cluster; needed when several claim one Region or role",
        )  # fmt: skip
        parser.add_argument(
            "--timeout",
            type=seconds,
            default=900.0,
            help="seconds to wait for each step (default: 900)",
        )

    def work(
        self,
        topology: Topology,
        *,
        dry_run: bool,
        prefix: str,
        cluster: list[str],
        yes: bool,
        timeout: float,
        format: str,
        **_: Any,
    ) -> None:
        say = self.progress_printer(format)
        if prefix and prefix != topology.prefix:
            raise CommandError(
                f"--prefix is {prefix!r}, but CLUSTER_NAME_PREFIX is {topology.prefix!r}: nothing "
                f"was deleted. Make them agree."
            )
        if yes and not prefix:
            raise CommandError(
                f"--yes needs --prefix {topology.prefix}, so that nothing else is deleted."
            )
        found = inventory.take(topology)
        chosen = _choose(found, cluster)
        self._show(found, chosen, say)
        left = found
        if chosen and not dry_run:
            if not cluster and (duplicates := found.describe_duplicates()):
                raise CommandError(duplicates)
            if not yes:
                self._ask(topology)
            left = self._destroy(found, chosen, timeout, say)
        elif dry_run:
            say("Dry run: nothing was changed.")
        if format == "json":
            summary = {
                "dry_run": dry_run,
                "clusters": [as_json(each) for each in chosen],
                "left": [as_json(each) for each in left.owned],
            }
            self.stdout.write(json.dumps(summary, indent=2))

    def _show(self, found: Inventory, chosen: Sequence[Cluster], say: Say) -> None:
        say(target())
        if not found.owned:
            say(f"No cluster of {found.topology.prefix!r} exists: nothing to delete.")
        for cluster in found.owned:
            verb = "delete" if cluster in chosen else "keep"
            say(f"{verb:<7} {cluster.region} {cluster.described}")
        for arn in found.others:
            say(
                f"keep    {arn}: it does not carry our tags. A peered member of ours stays "
                f"PENDING_DELETE until it is deleted too."
            )

    def _ask(self, topology: Topology) -> None:
        answer = ask(
            f"All data of these clusters will be lost. Type {topology.prefix} to go on: "
        )
        if answer != topology.prefix:
            raise CommandError("Nothing was deleted.")

    def _destroy(
        self, found: Inventory, chosen: Sequence[Cluster], timeout: float, say: Say
    ) -> Inventory:
        try:
            Applier(found.topology, say, timeout).destroy(chosen)
        except (ApplyError, AwsError, KeyboardInterrupt) as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            text = "Interrupted." if interrupted else str(error)
            raise CommandError(
                f"{text}\nWhat is left: {manage('dsql_status')}. To continue: {manage('dsql_destroy')}",
                returncode=130 if interrupted else 1,
            ) from error
        left = inventory.take(found.topology)
        before = {cluster.arn for cluster in found.owned}
        if new := [cluster for cluster in left.owned if cluster.arn not in before]:
            names = ", ".join(map(str, new))
            raise CommandError(
                f"Created meanwhile and left: {names}. To continue: {manage('dsql_destroy')}"
            )
        if left.owned:
            say(f"Kept: {', '.join(map(str, left.owned))}.")
            return left
        endpoints = dict.fromkeys(("DSQL_ENDPOINT", "DSQL_PEER_ENDPOINT"), "")
        if target_file.update_if_current(ENV_FILE, endpoints):
            say(f"Removed the endpoints from {ENV_FILE.name}.")
        say("Nothing is left.")
        return left


def _choose(found: Inventory, identifiers: list[str]) -> tuple[Cluster, ...]:
    """The clusters to delete: those named, or all. Raises CommandError."""
    ours = {cluster.identifier for cluster in found.owned}
    if unknown := sorted(set(identifiers) - ours):
        raise CommandError(
            f"--cluster {', '.join(unknown)}: no cluster of {found.topology.prefix!r} is named "
            f"so. Nothing was deleted."
        )
    return tuple(
        cluster
        for cluster in found.owned
        if not identifiers or cluster.identifier in identifiers
    )
