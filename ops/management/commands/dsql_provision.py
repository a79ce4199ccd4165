import json
from argparse import ArgumentParser, BooleanOptionalAction
from typing import Any

from django.core.management.base import CommandError

from ops import target_file
from ops.aws import AwsError
from ops.clusters import inventory, plan
from ops.clusters.apply import Applier, ApplyError, Say
from ops.clusters.command import (
    ClusterCommand,
    as_json,
    keys_by_role,
    seconds,
    table,
    target,
)
from ops.clusters.inventory import READY, Cluster
from ops.clusters.login import await_login
from ops.clusters.plan import ClusterOptions, Plan
from ops.paths import ENV_FILE
from ops.target import manage
from ops.topology import PRIMARY, SECONDARY, Topology


class Command(ClusterCommand):
    help = (
        "Create the clusters of both Regions, peered, protected and tagged, or complete what "
        "exists, and wait until each endpoint accepts a login. Safe to run again at any time: "
        "a second run changes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--kms-key", action="append", default=[], metavar="[ROLE=]KEY",
            help="ARN, id or alias of a customer managed key in the cluster's Region, or "
            "AWS_OWNED_KMS_KEY (default: leave it as it is)",
        )  # fmt: skip
        parser.add_argument(
            "--statement-statistics", action=BooleanOptionalAction, default=None,
            help="collect statistics of statements (default: leave it as it is)",
        )  # fmt: skip
        parser.add_argument("--dry-run", action="store_true", help="show the plan only")
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
        kms_key: list[str],
        statement_statistics: bool | None,
        dry_run: bool,
        timeout: float,
        format: str,
        **_: Any,
    ) -> None:
        say = self.progress_printer(format)
        options = ClusterOptions(keys_by_role(topology, kms_key), statement_statistics)
        say(target())
        found = inventory.take(topology)
        members = found.members()
        for line in table(members):
            say(line)
        desired = plan.build(found, options)
        if desired.problems:
            raise CommandError("\n".join(desired.problems))
        changes = bool(desired.steps)
        if dry_run:
            for step in desired.steps:
                say(f"would {step}")
            say("Dry run: nothing was changed." if changes else "Nothing to change.")
        elif changes or any(c.status not in READY for c in members.values()):
            members = self._apply(
                Applier(topology, say, timeout), desired, members, say
            )
        else:
            say("Nothing to change: the clusters are as configured.")
        if not dry_run:
            self._remember(topology, members, say)
            self._await_logins(members, say)
            say(f"Ready. Next: {manage('dsql_database')}")
        if format == "json":
            summary = {
                "dry_run": dry_run,
                "changed": changes and not dry_run,
                "steps": [step.as_json() for step in desired.steps],
                "members": {role: as_json(c) for role, c in members.items()},
            }
            self.stdout.write(json.dumps(summary, indent=2))

    def _apply(
        self, applier: Applier, desired: Plan, members: dict[str, Cluster], say: Say
    ) -> dict[str, Cluster]:
        try:
            members = applier.provision(desired, members)
        except (ApplyError, AwsError, KeyboardInterrupt) as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            raise CommandError(
                "\n".join(
                    (
                        "Interrupted." if interrupted else str(error),
                        *_summarize(applier, desired),
                        f"To continue: {manage('dsql_provision')}",
                    )
                ),
                returncode=130 if interrupted else 1,
            ) from error
        for line in table(members):
            say(line)
        return members

    def _await_logins(self, members: dict[str, Cluster], say: Say) -> None:
        try:
            for member in members.values():
                await_login(member, say)
        except KeyboardInterrupt:
            raise CommandError(
                "Interrupted.\nAll steps are done, but not every endpoint has accepted a "
                f"login.\nTo continue: {manage('dsql_provision')}",
                returncode=130,
            ) from None

    def _remember(
        self, topology: Topology, members: dict[str, Cluster], say: Say
    ) -> None:
        """Write the endpoints to the .env of the sandbox; another file is left alone."""
        peer = members.get(SECONDARY)
        updated = target_file.update_if_current(
            ENV_FILE,
            {
                "DSQL_ENDPOINT": members[PRIMARY].endpoint,
                "DSQL_PEER_ENDPOINT": peer.endpoint if peer else "",
                "AWS_REGION": topology.regions[PRIMARY],
            },
        )
        if updated:
            say(f"Wrote the endpoints to {ENV_FILE.name}.")


def _summarize(applier: Applier, desired: Plan) -> list[str]:
    """Which steps were done and which were not."""
    left = desired.steps[len(applier.done) :]
    return [
        *(f"Done:     {step}" for step in applier.done),
        *(f"Not done: {step}" for step in left),
        *(["All steps are done, but a cluster is not ready."] if not left else []),
    ]
