"""The steps from the existing clusters to the desired ones. Pure: makes no call."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ops.arn import parse_arn
from ops.clusters.inventory import LEAVING, Cluster, Inventory
from ops.target import manage
from ops.topology import ROLES

OWNED_KEY = "AWS_OWNED_KMS_KEY"


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """The choices of the operator. None leaves a setting as it is."""

    kms_keys: Mapping[str, str] = field(default_factory=dict)  # by role
    statistics: bool | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One change to one role's cluster."""

    action: str  # create, update or tag
    role: str
    region: str
    identifier: str | None = None  # None: created by an earlier step
    peer: str | None = None  # the role to name as the peer
    protect: bool = False
    kms_key: str | None = None
    statistics: bool | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if v not in (None, False, {})} | (
            {"statistics": False} if self.statistics is False else {}
        )

    def __str__(self) -> str:
        parts = [
            f"peer with {self.peer}" if self.peer else "",
            "deletion protection on" if self.protect else "",
            f"encrypt with {self.kms_key}" if self.kms_key else "",
            _STATISTICS[self.statistics],
            *(f"{name}={value}" for name, value in self.tags.items()),
        ]
        what = ", ".join(part for part in parts if part)
        return f"{self.action:<7} {self.role:<10} {self.region:<15} {what}"


_STATISTICS = {
    None: "",
    True: "statement statistics on",
    False: "statement statistics off",
}


@dataclass(frozen=True, slots=True)
class Plan:
    steps: tuple[Step, ...]
    problems: tuple[str, ...]  # each with its remedy; with any, nothing may be done


def build(inventory: Inventory, options: ClusterOptions) -> Plan:
    """The steps in order, or the problems that prevent them."""
    if problems := _problems(inventory):
        return Plan((), tuple(problems))
    members = inventory.members()
    steps = [
        *_creations(inventory, members, options),
        *_updates(inventory, members, options),
        *_tags(inventory, members),
    ]
    return Plan(tuple(steps), ())


def _creations(
    inventory: Inventory, members: Mapping[str, Cluster], options: ClusterOptions
) -> list[Step]:
    topology = inventory.topology
    steps: list[Step] = []
    existing = set(members)
    for role, region in topology.regions.items():
        if role not in members:
            peer = peer_role(role) if peer_role(role) in existing else None
            steps.append(
                Step(
                    "create",
                    role,
                    region,
                    peer=peer,
                    protect=True,
                    kms_key=options.kms_keys.get(role),
                    statistics=options.statistics or None,
                    tags=topology.tags(role),
                )
            )
            existing.add(role)
    return steps


def _updates(
    inventory: Inventory, members: Mapping[str, Cluster], options: ClusterOptions
) -> list[Step]:
    """One update for each cluster that lacks something; peering comes first."""
    topology = inventory.topology
    steps: list[Step] = []
    for role, region in topology.regions.items():
        cluster = members.get(role)
        step = Step(
            "update",
            role,
            region,
            cluster.identifier if cluster else None,
            peer=_lacking_peer(inventory, members, role),
            protect=cluster is not None and not cluster.protected,
            kms_key=_lacking_key(cluster, options.kms_keys.get(role)),
            statistics=_lacking_statistics(cluster, options.statistics),
        )
        if step.peer or step.protect or step.kms_key or step.statistics is not None:
            steps.append(step)
    return steps


def _lacking_peer(
    inventory: Inventory, members: Mapping[str, Cluster], role: str
) -> str | None:
    if inventory.topology.single_region:
        return None
    partner = members.get(peer_role(role))
    cluster = members.get(role)
    if cluster is None:
        # Created by this plan: it names its partner unless it is the first of two.
        first = partner is None and role == ROLES[0]
        return peer_role(role) if first else None
    desired = (partner.arn,) if partner else ("created by this plan",)
    return peer_role(role) if cluster.peers != desired else None


def _lacking_key(cluster: Cluster | None, desired: str | None) -> str | None:
    if cluster is None or desired is None or same_key(cluster, desired):
        return None
    return desired


def same_key(cluster: Cluster, key: str) -> bool:
    """Whether the cluster has that key; for an alias AWS reports only the key's ARN."""
    if key == OWNED_KEY or cluster.kms_key is None:
        return key == OWNED_KEY and cluster.kms_key is None
    if "alias/" in key:
        return True
    return cluster.kms_key == key or cluster.kms_key.endswith(f"/{key}")


def _lacking_statistics(cluster: Cluster | None, desired: bool | None) -> bool | None:
    if cluster is None or desired is None or cluster.statistics == desired:
        return None
    return desired


def _tags(inventory: Inventory, members: Mapping[str, Cluster]) -> list[Step]:
    """A cluster that was found has our two tags; the tag Role may be missing."""
    return [
        Step("tag", role, cluster.region, cluster.identifier, tags={"Role": role})
        for role, cluster in members.items()
        if cluster.role != role
    ]


def peer_role(role: str) -> str:
    return ROLES[1 - ROLES.index(role)]


# Problems that no plan can solve


def _problems(inventory: Inventory) -> list[str]:
    topology = inventory.topology
    found = [
        f"{cluster} has our tags, but {cluster.region} is not a configured Region. Set the "
        f"Region variables to what exists, or remove it: {manage('dsql_destroy')}"
        for cluster in inventory.elsewhere()
    ]
    for role in topology.regions:
        same = inventory.by_role(role)
        if len(same) > 1:
            found.append(
                f"Several clusters carry the tags of {topology.prefix!r} in "
                f"{topology.regions[role]}: {', '.join(c.identifier for c in same)}. Remove the tag "
                f"Application from all but the one in use."
            )
        for cluster in same[:1]:
            found += _cluster_problems(inventory, role, cluster)
    return found


def _cluster_problems(inventory: Inventory, role: str, cluster: Cluster) -> list[str]:
    if cluster.status == "FAILED":
        return [
            f"{cluster}: {describe_failure(cluster)} Remove it, then provision again: {manage('dsql_destroy')}"
        ]
    if cluster.status in LEAVING:
        return [
            f"{cluster} is being deleted. Wait for that to end: {manage('dsql_destroy')}"
        ]
    if cluster.role not in {"", role}:
        return [
            f"{cluster} is tagged Role={cluster.role}, but its Region is configured as {role}. Swap "
            f"PRIMARY_REGION and SECONDARY_REGION, or correct the tag."
        ]
    return [
        *_witness_problems(inventory, cluster),
        *_peer_problems(inventory, role, cluster),
    ]


def describe_failure(cluster: Cluster) -> str:
    """Why it failed, as far as AWS says: GetCluster gives no reason."""
    if cluster.encryption_status not in {"", "ENABLED"}:
        return f"its KMS key {cluster.kms_key} is {cluster.encryption_status}."
    return "AWS gives no reason; CloudTrail and the Health dashboard may."


def _witness_problems(inventory: Inventory, cluster: Cluster) -> list[str]:
    desired = inventory.topology.witness
    if cluster.witness == desired:
        return []
    if desired is None or cluster.witness is None:
        kind = "multi-Region" if desired is None else "single-Region"
        hint = "without" if desired is None else "with"
        return [
            f"{cluster} is a {kind} cluster, and AWS cannot turn one kind into the other. Run "
            f"{hint} --single-region, or start again: {manage('dsql_destroy')}"
        ]
    return [
        f"{cluster} has the witness Region {cluster.witness}, not {desired}, and it cannot be "
        f"changed. Set WITNESS_REGION={cluster.witness}, or start again: {manage('dsql_destroy')}"
    ]


def _peer_problems(inventory: Inventory, role: str, cluster: Cluster) -> list[str]:
    ours = {known.arn for known in inventory.owned}
    problems = []
    for arn in cluster.peers:
        if parse_arn(arn).account != cluster.account:
            problems.append(
                f"{cluster} is peered with {arn} of another account, which is not ours to use. "
                f"Remove that peer, or choose another CLUSTER_NAME_PREFIX."
            )
        elif arn not in ours and not inventory.missing_peer(arn):
            problems.append(
                f"{cluster} is peered with {arn}, which does not carry our tags. Tag it "
                f"Application={inventory.topology.prefix} and ManagedBy if it belongs here, or "
                f"choose another CLUSTER_NAME_PREFIX."
            )
    return problems
