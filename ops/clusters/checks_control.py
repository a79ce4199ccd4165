"""Checks of the clusters as the dsql API describes them; each takes the inventory and a role."""

from ops.clusters.inventory import READY, Cluster, Inventory
from ops.clusters.outcomes import CheckFailed, CheckSkipped
from ops.clusters.plan import describe_failure, peer_role
from ops.target import manage


def _recreation_commands() -> str:
    return f"{manage('dsql_destroy')}, then {manage('dsql_provision')}"


def status(found: Inventory, role: str) -> str:
    same = found.by_role(role)
    if not same:
        raise CheckFailed("No cluster has our tags.", manage("dsql_provision"))
    if len(same) > 1:
        names = ", ".join(cluster.identifier for cluster in same)
        raise CheckFailed(
            f"Several clusters carry our tags: {names}.", manage("dsql_provision")
        )
    cluster = same[0]
    if cluster.status == "FAILED":
        raise CheckFailed(
            f"{cluster.identifier} is FAILED: {describe_failure(cluster)}",
            _recreation_commands(),
        )
    if cluster.status not in READY | {"UPDATING"}:
        raise CheckFailed(
            f"{cluster.identifier} is {cluster.status}.", manage("dsql_provision")
        )
    return f"{cluster.identifier} is {cluster.status}"


def witness(found: Inventory, role: str) -> str:
    cluster, desired = _member(found, role), found.topology.witness
    if cluster.witness != desired:
        raise CheckFailed(
            f"The witness Region is {cluster.witness or 'none'}, not {desired or 'none'}.",
            f"Set WITNESS_REGION={cluster.witness}, or start again: {_recreation_commands()}",
        )
    return desired or "none, as configured"


def peering(found: Inventory, role: str) -> str:
    cluster = _member(found, role)
    partner = None
    if not found.topology.single_region:
        partner = found.members().get(peer_role(role))
        if partner is None:
            raise CheckFailed(
                "The other Region has no cluster to peer with.",
                manage("dsql_provision"),
            )
    desired = (partner.arn,) if partner else ()
    if cluster.peers != desired:
        named = ", ".join(cluster.peers) or "none"
        raise CheckFailed(
            f"The peers are {named}, not {', '.join(desired) or 'none'}.",
            manage("dsql_provision"),
        )
    return partner.identifier if partner else "none, as configured"


def protection(found: Inventory, role: str) -> str:
    if not _member(found, role).protected:
        raise CheckFailed("Deletion protection is off.", manage("dsql_provision"))
    return ""


def encryption(found: Inventory, role: str) -> str:
    cluster = _member(found, role)
    if cluster.encryption_status != "ENABLED":
        raise CheckFailed(
            f"Encryption with {cluster.kms_key or cluster.encryption} is "
            f"{cluster.encryption_status or 'unknown'}.",
            "Check that the KMS key exists, is enabled, and that its policy admits DSQL.",
        )
    return cluster.kms_key or cluster.encryption


def tags(found: Inventory, role: str) -> str:
    cluster, desired = _member(found, role), found.topology.tags(role)
    wrong = [
        f"{name} is {cluster.tags.get(name)!r}, not {value!r}"
        for name, value in desired.items()
        if cluster.tags.get(name) != value
    ]
    if wrong:
        raise CheckFailed(f"{'; '.join(wrong)}.", manage("dsql_provision"))
    return ""


def _member(found: Inventory, role: str) -> Cluster:
    try:
        return found.members()[role]
    except KeyError:
        raise CheckSkipped("There is not exactly one cluster.") from None
