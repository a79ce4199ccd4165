import json
from argparse import ArgumentParser
from typing import Any

from ops.clusters import inventory, plan
from ops.clusters.api import api_urls
from ops.clusters.command import ClusterCommand, as_json, table, target
from ops.clusters.inventory import Cluster, Inventory
from ops.clusters.plan import ClusterOptions, Plan, peer_role
from ops.target import manage
from ops.topology import ROLES, Topology


class Command(ClusterCommand):
    help = "Show the clusters of both Regions: state, endpoint, protection, peers, and differences."
    formats = ("text", "json", "env", "curl")

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--role",
            choices=ROLES,
            default=ROLES[0],
            help="role whose variables --format env prints",
        )
        parser.add_argument(
            "--api-url", action="append", default=[], metavar="ROLE=URL",
            help="URL of the API of a role",
        )  # fmt: skip

    def work(
        self,
        topology: Topology,
        *,
        role: str,
        api_url: list[str],
        format: str,
        **_: Any,
    ) -> None:
        urls = api_urls(topology, api_url)
        found = inventory.take(topology)
        drift = plan.build(found, ClusterOptions())
        if format == "json":
            self.stdout.write(json.dumps(_json(found, drift, urls), indent=2))
        elif format == "env":
            self._env(found.members(), role)
        elif format == "curl":
            self._curl(urls)
        else:
            self._text(found, drift, urls)

    def _text(self, found: Inventory, drift: Plan, urls: dict[str, str]) -> None:
        self.stdout.write(target())
        members = found.members()
        for line in table(members):
            self.stdout.write(line)
        for role, cluster in members.items():
            key = f" with {cluster.kms_key}" if cluster.kms_key else ""
            peers = ", ".join(cluster.peers) or "none"
            self.stdout.write(
                f"{role:<10} witness {cluster.witness or 'none'}, peers {peers}, "
                f"{cluster.encryption}{key} {cluster.encryption_status}"
            )
        for role, url in urls.items():
            self.stdout.write(f"{role:<10} API {url}")
        if not found.owned:
            self.stdout.write(
                f"No cluster of {found.topology.prefix!r} exists. To create them: {manage('dsql_provision')}"
            )
            return
        for problem in drift.problems:
            self.stdout.write(f"problem: {problem}")
        for step in drift.steps:
            self.stdout.write(f"differs: {step}")
        if not (drift.problems or drift.steps):
            self.stdout.write("As configured.")
        elif drift.steps:
            self.stdout.write(f"To fix this: {manage('dsql_provision')}")

    def _env(self, members: dict[str, Cluster], role: str) -> None:
        local, peer = members.get(role), members.get(peer_role(role))
        for name, value in (
            ("DSQL_ENDPOINT", local.endpoint if local else ""),
            ("DSQL_PEER_ENDPOINT", peer.endpoint if peer else ""),
            ("AWS_REGION", local.region if local else ""),
        ):
            self.stdout.write(f"{name}={value}")

    def _curl(self, urls: dict[str, str]) -> None:
        for url in urls.values():
            self.stdout.write(f"curl -i {url}/health")
            self.stdout.write(f"curl -i {url}/users")
        if not urls:
            self.stdout.write("# No API is known: name it with --api-url ROLE=URL.")


def _json(found: Inventory, drift: Plan, urls: dict[str, str]) -> dict[str, Any]:
    return {
        "prefix": found.topology.prefix,
        "members": {role: as_json(c) for role, c in found.members().items()},
        "clusters": [as_json(cluster) for cluster in found.owned],
        "drift": [step.as_json() for step in drift.steps],
        "problems": list(drift.problems),
        "api_urls": urls,
    }
