"""What the ``dsql`` API demands of a cluster and of a set of peers."""

from typing import Any

from ops.local.sandbox.api_model import ApiError, invalid
from ops.local.sandbox.clusters import ACCOUNT, Cluster, Fleet

# Clusters per account and Region: AWS user guide, "Quotas".
MAX_SINGLE_REGION, MAX_MULTI_REGION = 20, 5
Properties = dict[str, Any]


def check_set(
    fleet: Fleet,
    region: str,
    witness: str | None,
    peers: list[str],
    properties: Properties,
) -> None:
    """What a multi-Region cluster must be to be accepted at all. Raises ApiError."""
    if properties and not witness:
        raise invalid("multiRegionProperties needs a witnessRegion")
    peer_regions = [arn.split(":")[3] for arn in peers]
    if witness in (region, *peer_regions):
        raise invalid(
            f"The witness Region {witness} must differ from the clusters' Regions"
        )
    if region in peer_regions or len(peers) > 1:
        raise invalid("A cluster has one peer, which is in another Region")
    for arn in peers:
        peer = fleet.clusters.get(arn.rpartition("/")[2])
        if arn.split(":")[4] == ACCOUNT and (peer is None or peer.arn != arn):
            raise invalid(f"The peer cluster {arn} does not exist")
        if peer is not None and peer.witness != witness:
            raise invalid(
                f"The peer cluster {arn} has the witness Region {peer.witness}, not {witness}"
            )


def change_set(fleet: Fleet, cluster: Cluster, properties: Properties) -> None:
    """Give the cluster another witness or other peers. Raises ApiError."""
    witness = properties.get("witnessRegion", cluster.witness)
    if cluster.witness is None:
        raise invalid("A single-Region cluster cannot become a multi-Region cluster")
    if witness != cluster.witness and cluster.peers:
        raise invalid("The witness Region of a peered cluster cannot be changed")
    peers = [
        arn for arn in properties.get("clusters", cluster.peers) if arn != cluster.arn
    ]
    check_set(fleet, cluster.region, witness, peers, properties)
    cluster.witness, cluster.peers = witness, peers


def check_quota(fleet: Fleet, region: str, *, multi: bool) -> None:
    """Raises ApiError when the Region has all the clusters of the kind it may have."""
    similar = [c for c in fleet if c.region == region and multi == bool(c.witness)]
    if len(similar) >= (MAX_MULTI_REGION if multi else MAX_SINGLE_REGION):
        raise ApiError(
            "ServiceQuotaExceededException",
            "You have reached the cluster limit.",
            {
                "resourceId": region,
                "resourceType": "cluster",
                "serviceCode": "dsql",
                "quotaCode": "L-MULTI-REGION" if multi else "L-SINGLE-REGION",
            },
        )
