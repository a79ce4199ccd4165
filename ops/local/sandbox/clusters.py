"""The clusters of a sandbox and their life cycle; no I/O and no clock of its own.

A status is derived from what happened when, so nothing has to be woken to change it:
AWS user guide, "Cluster lifecycle" and "Configuring multi-Region clusters".
"""

import secrets
import string
from collections.abc import Iterator
from dataclasses import dataclass, field

ACCOUNT = "123456789012"
BASE36 = string.ascii_lowercase + string.digits
# Where Aurora DSQL is offered (November 2026); other names have no endpoint to call.
REGIONS = frozenset({
    "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1",
    "ca-central-1", "ca-west-1", "eu-central-1", "eu-north-1", "eu-south-2", "eu-west-1",
    "eu-west-2", "eu-west-3", "us-east-1", "us-east-2", "us-west-2",
})  # fmt: skip
SERVING = frozenset({"ACTIVE", "IDLE", "INACTIVE", "UPDATING"})
DELETION = frozenset({"PENDING_DELETE", "DELETING"})


@dataclass(frozen=True, slots=True)
class Timing:
    """How long each step of the life cycle takes, in seconds."""

    create: float = 0.5
    update: float = 0.2
    delete: float = 0.5
    idle: float = 900.0  # without a connection, until IDLE
    inactive: float = 3600.0  # until INACTIVE


@dataclass(slots=True)
class Cluster:
    """The state of a cluster and when it changed; times are seconds since the epoch."""

    region: str
    created: float
    identifier: str = field(
        default_factory=lambda: "".join(secrets.choice(BASE36) for _ in range(26))
    )
    protected: bool = True
    tags: dict[str, str] = field(default_factory=dict)
    witness: str | None = None
    peers: list[str] = field(default_factory=list)  # ARNs of the other clusters
    kms_key: str | None = None
    metric_groups: list[str] = field(default_factory=list)
    peered: float | None = None  # since when every peer names this cluster too
    updated: float | None = None
    deleted: float | None = None  # when its deletion was requested
    used: float = 0.0  # the latest connection
    failed: bool = False

    @property
    def arn(self) -> str:
        return f"arn:aws:dsql:{self.region}:{ACCOUNT}:cluster/{self.identifier}"

    @property
    def endpoint(self) -> str:
        return f"{self.identifier}.dsql.{self.region}.on.aws"


def parse_region(host: str) -> str | None:
    """The Region of an endpoint's name; None where no endpoint has that name."""
    parts = host.lower().split(".")
    region = parts[2] if len(parts) == 5 and parts[1] == "dsql" else ""
    return region if region in REGIONS and parts[3:] == ["on", "aws"] else None


class Fleet:
    """All clusters of the sandbox's account, by identifier."""

    def __init__(self, timing: Timing, clusters: list[Cluster]) -> None:
        self.timing = timing
        self.clusters = {cluster.identifier: cluster for cluster in clusters}

    def __iter__(self) -> Iterator[Cluster]:
        return iter(sorted(self.clusters.values(), key=_age))

    def partners(self, cluster: Cluster) -> list[Cluster]:
        """The existing peers that name this cluster as well."""
        found = (self.clusters.get(arn.rpartition("/")[2]) for arn in cluster.peers)
        return [
            peer for peer in found if peer is not None and cluster.arn in peer.peers
        ]

    def link(self, now: float) -> None:
        """Note since when each multi-Region cluster is connected to all its peers."""
        for cluster in self:
            complete = bool(cluster.peers) and (
                len(self.partners(cluster)) == len(cluster.peers)
            )
            if not complete:
                cluster.peered = None
            elif cluster.peered is None:
                cluster.peered = now

    def status(self, cluster: Cluster, now: float) -> str:
        if cluster.deleted is not None:
            partners = self.partners(cluster)
            waits = any(partner.deleted is None for partner in partners)
            return "PENDING_DELETE" if waits else "DELETING"
        if cluster.failed:
            return "FAILED"
        begun = cluster.created if cluster.witness is None else cluster.peered
        if begun is None:
            return "PENDING_SETUP"
        ready = begun + self.timing.create
        if now < ready:
            return "CREATING"
        if cluster.updated is not None and now < cluster.updated + self.timing.update:
            return "UPDATING"
        unused = now - max(cluster.used, ready)
        if unused < self.timing.idle:
            return "ACTIVE"
        return "IDLE" if unused < self.timing.inactive else "INACTIVE"

    def gone(self, now: float) -> list[Cluster]:
        """The clusters whose deletion is over by now; the caller removes them."""
        over = []
        for cluster in self:
            if self.status(cluster, now) == "DELETING":
                members = (cluster, *self.partners(cluster))
                asked = max(member.deleted or 0.0 for member in members)
                if now >= asked + self.timing.delete:
                    over.append(cluster)
        return over


def _age(cluster: Cluster) -> tuple[float, str]:
    return cluster.created, cluster.identifier
