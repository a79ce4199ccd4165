"""How the ``dsql`` API describes a cluster."""

from typing import Any

from ops.local.sandbox.clusters import Cluster
from ops.local.sandbox.control_params import OWNED_KEY

Response = dict[str, Any]


def summarize(cluster: Cluster, status: str) -> Response:
    return {
        "identifier": cluster.identifier,
        "arn": cluster.arn,
        "status": status,
        "creationTime": cluster.created,
    }


def describe(cluster: Cluster, status: str) -> Response:
    """All but the tags, which only GetCluster shows."""
    response = summarize(cluster, status) | {
        "deletionProtectionEnabled": cluster.protected,
        "endpoint": cluster.endpoint,
        "metricGroups": [{"metricGroup": name} for name in cluster.metric_groups],
        "encryptionDetails": _describe_encryption(cluster),
    }
    if cluster.witness is not None:
        response["multiRegionProperties"] = {
            "witnessRegion": cluster.witness,
            "clusters": [cluster.arn, *cluster.peers],
        }
    return response


def _describe_encryption(cluster: Cluster) -> Response:
    if cluster.kms_key is None:
        return {"encryptionType": OWNED_KEY, "encryptionStatus": "ENABLED"}
    return {
        "encryptionType": "CUSTOMER_MANAGED_KMS_KEY",
        "kmsKeyArn": cluster.kms_key,
        "encryptionStatus": "ENABLED",
    }
