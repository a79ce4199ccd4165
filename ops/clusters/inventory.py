"""The clusters that exist with our tags, found in the account, never in a file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from ops import aws
from ops.arn import parse_arn
from ops.target import manage
from ops.topology import Topology

# A cluster scales to zero and wakes when connected to: idle is not a fault.
READY = frozenset({"ACTIVE", "IDLE", "INACTIVE"})
LEAVING = frozenset({"PENDING_DELETE", "DELETING", "DELETED"})
MISSING = "ResourceNotFoundException"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster as GetCluster describes it."""

    identifier: str
    arn: str
    region: str
    status: str
    endpoint: str
    protected: bool
    witness: str | None
    peers: tuple[str, ...]  # ARNs, without the cluster's own
    encryption: str
    encryption_status: str
    kms_key: str | None
    statistics: bool
    tags: Mapping[str, str]
    created: datetime

    @property
    def role(self) -> str:
        return self.tags.get("Role", "")

    @property
    def account(self) -> str:
        return parse_arn(self.arn).account

    @property
    def described(self) -> str:
        """What identifies it to a person before it is deleted."""
        protected = "protected" if self.protected else "unprotected"
        return (
            f"{self.identifier} ({self.status}), {protected}, created "
            f"{self.created:%Y-%m-%d %H:%M}"
        )

    def __str__(self) -> str:
        return f"{self.region} {self.identifier} ({self.status})"


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything with the tags of one topology, and the peers it names."""

    topology: Topology
    owned: tuple[Cluster, ...]
    # A peer that is not ours: None when it does not exist or cannot be seen.
    others: Mapping[str, Cluster | None]

    def members(self) -> dict[str, Cluster]:
        """The cluster of each role in its configured Region, if there is exactly one."""
        found = {role: self.by_role(role) for role in self.topology.regions}
        return {role: same[0] for role, same in found.items() if len(same) == 1}

    def by_role(self, role: str) -> list[Cluster]:
        region = self.topology.regions[role]
        return [cluster for cluster in self.owned if cluster.region == region]

    def elsewhere(self) -> list[Cluster]:
        """Ours, but outside the configured Regions."""
        configured = set(self.topology.regions.values())
        return [cluster for cluster in self.owned if cluster.region not in configured]

    def describe_duplicates(self) -> str:
        """Which clusters claim the same Region or role: tags do not say which one is meant.

        Empty when each has at most one that is not being deleted.
        """
        places: dict[str, list[Cluster]] = {}
        for cluster in self.owned:
            if cluster.status not in LEAVING:
                names = [f"Region {cluster.region}"]
                if cluster.role:
                    names.append(f"role {cluster.role}")
                for name in names:
                    places.setdefault(name, []).append(cluster)
        found = [
            f"{name}: {' and '.join(map(str, same))}"
            for name, same in places.items()
            if len(same) > 1
        ]
        if not found:
            return ""
        return (
            f"Several clusters carry the tags of {self.topology.prefix} ({'; '.join(found)}). "
            f"Nothing was deleted. Remove the tag Application from those that are not part of "
            f"it, or name each one to delete: {manage('dsql_destroy')} --cluster <identifier>"
        )

    def missing_peer(self, arn: str) -> bool:
        return arn in self.others and self.others[arn] is None


def take(topology: Topology) -> Inventory:
    """Read every configured Region, and the peers of the clusters found there.

    Raises aws.AwsError.
    """
    owned: dict[str, Cluster] = {}
    for region in topology.regions.values():
        for cluster in _list_clusters(region):
            if _is_ours(cluster, topology):
                owned[cluster.arn] = cluster
    others: dict[str, Cluster | None] = {}
    for arn in [arn for cluster in owned.values() for arn in cluster.peers]:
        if arn not in owned:
            peer = _peer(arn, owned.values())
            if peer is not None and _is_ours(peer, topology):
                owned[arn] = peer
            else:
                others[arn] = peer
    return Inventory(topology, tuple(owned.values()), others)


def get(region: str, identifier: str) -> Cluster | None:
    """The cluster, or None when there is none. Raises aws.AwsError."""
    with aws.explained():
        try:
            found = aws.client("dsql", region).get_cluster(identifier=identifier)
        except ClientError as error:
            if aws.error_code(error) == MISSING:
                return None
            raise
    return parse(region, dict(found))


def parse(region: str, found: Mapping[str, Any]) -> Cluster:
    shared = found.get("multiRegionProperties") or {}
    encryption = found.get("encryptionDetails") or {}
    return Cluster(
        identifier=found["identifier"],
        arn=found["arn"],
        region=region,
        status=found["status"],
        endpoint=found.get("endpoint", ""),
        protected=found.get("deletionProtectionEnabled", False),
        witness=shared.get("witnessRegion"),
        peers=tuple(arn for arn in shared.get("clusters", []) if arn != found["arn"]),
        encryption=encryption.get("encryptionType", ""),
        encryption_status=encryption.get("encryptionStatus", ""),
        kms_key=encryption.get("kmsKeyArn"),
        statistics=bool(found.get("metricGroups")),
        tags=found.get("tags", {}),
        created=found["creationTime"],
    )


def _list_clusters(region: str) -> list[Cluster]:
    client = aws.client("dsql", region)
    with aws.explained():
        pages = client.get_paginator("list_clusters").paginate()
        names = [entry["identifier"] for page in pages for entry in page["clusters"]]
    # A cluster may be deleted between the list and the request.
    found = [get(region, name) for name in names]
    return [cluster for cluster in found if cluster is not None]


def _is_ours(cluster: Cluster, topology: Topology) -> bool:
    """Both tags must match; a deleted one no longer counts."""
    ours = topology.common_tags.items() <= dict(cluster.tags).items()
    return ours and cluster.status != "DELETED"


def _peer(arn: str, owned: Iterable[Cluster]) -> Cluster | None:
    """The peer; None when this account has no such cluster."""
    parts = parse_arn(arn)
    if parts.account not in {cluster.account for cluster in owned}:
        return None
    return get(parts.region, parts.resource.rpartition("/")[2])
