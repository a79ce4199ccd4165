"""The clusters that a deployment connects to: both ready, and peered."""

from ops.clusters import inventory
from ops.clusters.inventory import READY, Cluster
from ops.ownership import NotReady
from ops.target import manage
from ops.topology import Topology


def require_clusters(topology: Topology) -> dict[str, Cluster]:
    """The cluster of each role. Raises NotReady or aws.AwsError."""
    members = inventory.take(topology).members()
    for role, region in topology.regions.items():
        if role not in members:
            raise NotReady(
                f"{region}: there is not exactly one cluster of {topology.prefix!r} with the role "
                f"{role}. Run `{manage('dsql_provision')}`."
            )
        if members[role].status not in READY:
            raise NotReady(
                f"{members[role]} is not ready. Run `{manage('dsql_provision')}`."
            )
    arns = {cluster.arn for cluster in members.values()}
    for cluster in members.values():
        if not arns - {cluster.arn} <= set(cluster.peers):
            raise NotReady(
                f"{cluster} is not peered with the cluster of the other Region. Run "
                f"`{manage('dsql_provision')}`."
            )
    return members
