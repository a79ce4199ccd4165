"""For dsql_provision, dsql_database, dsql_status, dsql_verify and dsql_destroy. Pure.

The ``dsql`` actions also stand in the API reference under CreateCluster, UpdateCluster and
DeleteCluster; those of a customer managed key in the user guide, "Data encryption".
"""

from collections.abc import Iterator
from typing import Any

from ops.policies.document import (
    EVERYTHING,
    Document,
    Scope,
    Statement,
    allow,
    document,
)

OWNED_KEY = "AWS_OWNED_KMS_KEY"


def find_clusters(scope: Scope) -> list[Statement]:
    """ListClusters has no resource type; GetCluster's response has the tags that identify ours."""
    return [
        allow("ListClusters", EVERYTHING, "dsql:ListClusters"),
        allow("ReadClusters", scope.per_region("dsql", "cluster/*"), "dsql:GetCluster"),
    ]


def provision(scope: Scope) -> Document:
    anywhere = scope.per_region("dsql", "cluster/*")
    return document(
        *find_clusters(scope),
        allow("CreateClusters", anywhere, "dsql:CreateCluster", condition=scope.request_tags_ours),
        allow("TagClusters", anywhere, "dsql:TagResource", condition=_not_others(scope)),
        allow(
            "ChangeClusters", anywhere, "dsql:DeleteCluster", "dsql:UpdateCluster",
            condition=scope.resource_is_ours,
        ),
        scope.connect_as_admin("MigrateAndVerify"),
        # Their IAM roles are mapped in the database.
        allow(
            "ReadRuntimeStacks", scope.named("cloudformation", "stack/{}-runtime/*"),
            "cloudformation:DescribeStacks",
        ),
        allow(
            "CreateServiceLinkedRole",
            scope.iam("role", "aws-service-role/dsql.amazonaws.com/*"),
            "iam:CreateServiceLinkedRole",
            condition={"StringEquals": {"iam:AWSServiceName": "dsql.amazonaws.com"}},
        ),
        *_peering(scope, anywhere),
        *_encryption(scope),
    )  # fmt: skip


def _not_others(scope: Scope) -> dict[str, Any]:
    """A cluster being created has no tags yet, and a request may lack one of ours."""
    tags = {**scope.tags("aws:RequestTag"), **scope.tags("aws:ResourceTag")}
    return {"StringEqualsIfExists": tags}


def _peering(scope: Scope, anywhere: list[str]) -> Iterator[Statement]:
    witness = scope.topology.witness
    if witness is None:
        return
    yield allow(
        "PeerClusters", anywhere,
        "dsql:AddPeerCluster", "dsql:PutMultiRegionProperties", "dsql:RemovePeerCluster",
        condition={"StringEqualsIfExists": scope.tags("aws:ResourceTag")},
    )  # fmt: skip
    yield allow(
        # The witness is checked in the cluster's Region and in its own.
        "SetWitness", [*anywhere, scope.arn("dsql", witness, "cluster/*")],
        "dsql:PutWitnessRegion",
        condition={"StringEquals": {"dsql:WitnessRegion": witness}},
    )  # fmt: skip


def _encryption(scope: Scope) -> Iterator[Statement]:
    """With --kms-key DSQL uses the key on behalf of whoever creates or changes a cluster."""
    for role, key in scope.kms_keys.items():
        if key == OWNED_KEY:
            continue
        region = scope.topology.regions[role]
        keys = [
            key if key.startswith("arn:") else scope.arn("kms", region, f"key/{key}")
        ]
        by_alias: dict[str, Any] = {}
        if alias := _alias(key):
            # A policy cannot name an alias as resource: it names keys that have it.
            keys = [scope.arn("kms", region, "key/*")]
            by_alias = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": alias}}
        yield allow(
            f"DescribeKeyOf{role.title()}", keys, "kms:DescribeKey", condition=by_alias
        )
        yield allow(
            f"UseKeyOf{role.title()}", keys,
            "kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom",
            "kms:ReEncryptTo",
            condition={
                "StringEquals": {"kms:ViaService": f"dsql.{region}.amazonaws.com"},
                "ForAnyValue:StringEquals": {
                    "kms:EncryptionContextKeys": "aws:dsql:ClusterId",
                    **by_alias.get("ForAnyValue:StringEquals", {}),
                },
            },
        )  # fmt: skip


def _alias(key: str) -> str:
    name = key.rpartition(":")[2]
    return name if name.startswith("alias/") else ""
