"""What has to be done so that what exists becomes what is wanted. Pure: no call is made."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ops.clusters.inventory import LEAVING, Cluster, Inventory, account_of
from ops.target import manage
from ops.topology import ROLES

OWNED_KEY = "AWS_OWNED_KMS_KEY"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the operator may choose. None leaves a setting as it is."""

    kms_keys: Mapping[str, str] = field(default_factory=dict)  # by role
    statistics: bool | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One change to one role's cluster."""

    action: str  # create, update or tag
    role: str
    region: str
    identifier: str | None = None  # None: made by a create step before
    peer: str | None = None  # the role to be named as the peer
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
    problems: tuple[str, ...]  # each with its way out; with any, nothing may be done


def make(inventory: Inventory, wishes: Wishes) -> Plan:
    """The steps in their order, or the reasons why there is no way."""
    if problems := _problems(inventory):
        return Plan((), tuple(problems))
    members = inventory.members()
    steps = [
        *_creations(inventory, members, wishes),
        *_updates(inventory, members, wishes),
        *_tags(inventory, members),
    ]
    return Plan(tuple(steps), ())


def _creations(
    inventory: Inventory, members: Mapping[str, Cluster], wishes: Wishes
) -> list[Step]:
    topology = inventory.topology
    steps: list[Step] = []
    there = set(members)
    for role, region in topology.regions.items():
        if role not in members:
            peer = other(role) if other(role) in there else None
            steps.append(
                Step(
                    "create",
                    role,
                    region,
                    peer=peer,
                    protect=True,
                    kms_key=wishes.kms_keys.get(role),
                    statistics=wishes.statistics or None,
                    tags=topology.tags(role),
                )
            )
            there.add(role)
    return steps


def _updates(
    inventory: Inventory, members: Mapping[str, Cluster], wishes: Wishes
) -> list[Step]:
    """One update for each cluster that lacks something, peering first of all."""
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
            kms_key=_lacking_key(cluster, wishes.kms_keys.get(role)),
            statistics=_lacking_statistics(cluster, wishes.statistics),
        )
        if step.peer or step.protect or step.kms_key or step.statistics is not None:
            steps.append(step)
    return steps


def _lacking_peer(
    inventory: Inventory, members: Mapping[str, Cluster], role: str
) -> str | None:
    if inventory.topology.single_region:
        return None
    partner = members.get(other(role))
    cluster = members.get(role)
    if cluster is None:
        # Made by this plan: it names the partner unless it is the first of two.
        first = partner is None and role == ROLES[0]
        return other(role) if first else None
    wanted = (partner.arn,) if partner else ("made by this plan",)
    return other(role) if cluster.peers != wanted else None


def _lacking_key(cluster: Cluster | None, wanted: str | None) -> str | None:
    if cluster is None or wanted is None or same_key(cluster, wanted):
        return None
    return wanted


def same_key(cluster: Cluster, wanted: str) -> bool:
    """Whether the cluster has that key; of an alias AWS tells only the key's ARN."""
    if wanted == OWNED_KEY or cluster.kms_key is None:
        return wanted == OWNED_KEY and cluster.kms_key is None
    if "alias/" in wanted:
        return True
    return cluster.kms_key == wanted or cluster.kms_key.endswith(f"/{wanted}")


def _lacking_statistics(cluster: Cluster | None, wanted: bool | None) -> bool | None:
    if cluster is None or wanted is None or cluster.statistics == wanted:
        return None
    return wanted


def _tags(inventory: Inventory, members: Mapping[str, Cluster]) -> list[Step]:
    """Our two tags are there, or the cluster had not been found; the role may be missing."""
    return [
        Step("tag", role, cluster.region, cluster.identifier, tags={"Role": role})
        for role, cluster in members.items()
        if cluster.role != role
    ]


def other(role: str) -> str:
    return ROLES[1 - ROLES.index(role)]


# What no plan can mend


def _problems(inventory: Inventory) -> list[str]:
    topology = inventory.topology
    found = [
        f"{cluster} has our tags, but {cluster.region} is not a wanted Region. Set the Region "
        f"variables to what exists, or remove it: {manage('dsql_destroy')}"
        for cluster in inventory.elsewhere()
    ]
    for role in topology.regions:
        same = inventory.of_role(role)
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
            f"{cluster}: {failure(cluster)} Remove it, then provision again: {manage('dsql_destroy')}"
        ]
    if cluster.status in LEAVING:
        return [
            f"{cluster} is being deleted. Let that end first: {manage('dsql_destroy')}"
        ]
    if cluster.role not in {"", role}:
        return [
            f"{cluster} is tagged Role={cluster.role}, but its Region is wanted as {role}. Exchange "
            f"PRIMARY_REGION and SECONDARY_REGION, or correct the tag."
        ]
    return [
        *_witness_problems(inventory, cluster),
        *_peer_problems(inventory, role, cluster),
    ]


def failure(cluster: Cluster) -> str:
    """Why it failed, as far as AWS says: GetCluster has no reason of its own."""
    if cluster.encryption_status not in {"", "ENABLED"}:
        return f"its KMS key {cluster.kms_key} is {cluster.encryption_status}."
    return "AWS gives no reason; CloudTrail and the Health dashboard may."


def _witness_problems(inventory: Inventory, cluster: Cluster) -> list[str]:
    wanted = inventory.topology.witness
    if cluster.witness == wanted:
        return []
    if wanted is None or cluster.witness is None:
        kind = "multi-Region" if wanted is None else "single-Region"
        hint = "without" if wanted is None else "with"
        return [
            f"{cluster} is a {kind} cluster, and AWS cannot turn one kind into the other. Run "
            f"{hint} --single-region, or start anew: {manage('dsql_destroy')}"
        ]
    return [
        f"{cluster} has the witness Region {cluster.witness}, not {wanted}, and it cannot be "
        f"changed. Set WITNESS_REGION={cluster.witness}, or start anew: {manage('dsql_destroy')}"
    ]


def _peer_problems(inventory: Inventory, role: str, cluster: Cluster) -> list[str]:
    ours = {known.arn for known in inventory.owned}
    problems = []
    for arn in cluster.peers:
        if account_of(arn) != cluster.account:
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
