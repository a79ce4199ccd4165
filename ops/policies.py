"""IAM policy documents: exactly what provisioning, deploying and serving need. Pure.

Actions and resources are those of the service authorization reference; the ``dsql`` ones
also stand in the API reference under CreateCluster, UpdateCluster and DeleteCluster.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ops.topology import Topology

Statement = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scope:
    """Where the policy is good: the account and, once they exist, the clusters."""

    topology: Topology
    account: str
    cluster_arns: Mapping[str, str]  # by role
    partition: str = "aws"

    def arn(self, service: str, region: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{region}:{self.account}:{resource}"

    @property
    def clusters(self) -> list[str]:
        """The clusters' ARNs; any cluster of the Region while there is none."""
        return [
            self.cluster_arns.get(role) or self.arn("dsql", region, "cluster/*")
            for role, region in self.topology.regions.items()
        ]

    def per_region(self, service: str, *resources: str) -> list[str]:
        return [
            self.arn(service, region, resource)
            for region in self.topology.regions.values()
            for resource in resources
        ]


def provision(scope: Scope) -> dict[str, Any]:
    """For dsql_provision, dsql_database, dsql_status, dsql_verify and dsql_destroy."""
    anywhere = scope.per_region("dsql", "cluster/*")
    statements = [
        _allow(
            "ManageClusters", anywhere,
            "dsql:CreateCluster", "dsql:DeleteCluster", "dsql:GetCluster", "dsql:ListClusters",
            "dsql:TagResource", "dsql:UpdateCluster",
        ),
        _allow("MigrateAndVerify", scope.clusters, "dsql:DbConnectAdmin"),
        {
            **_allow("BeTheFirstInTheAccount", ["*"], "iam:CreateServiceLinkedRole"),
            "Condition": {"StringEquals": {"iam:AWSServiceName": "dsql.amazonaws.com"}},
        },
    ]  # fmt: skip
    if witness := scope.topology.witness:
        # The witness is checked in the cluster's Region and in its own.
        witnessed = [*anywhere, scope.arn("dsql", witness, "cluster/*")]
        statements += [
            _allow(
                "PeerClusters", anywhere,
                "dsql:AddPeerCluster", "dsql:PutMultiRegionProperties", "dsql:RemovePeerCluster",
            ),
            {
                **_allow("ChooseTheWitness", witnessed, "dsql:PutWitnessRegion"),
                "Condition": {"StringEquals": {"dsql:WitnessRegion": witness}},
            },
        ]  # fmt: skip
    return _document(*statements)


def deploy(scope: Scope) -> dict[str, Any]:
    """For the runtime stacks, for Zappa, and for reading where the clusters are."""
    prefix = scope.topology.prefix
    names = [scope.topology.function(role)[1] for role in scope.topology.regions]
    roles = [
        f"arn:{scope.partition}:iam::{scope.account}:role/{name}-{suffix}"
        for name in names
        for suffix in ("runtime", "gateway-logs")
    ]
    functions = scope.per_region(
        "lambda", *(f"function:{name}{end}" for name in names for end in ("", ":*"))
    )
    buckets = [f"arn:{scope.partition}:s3:::{prefix}-*"]
    return _document(
        _allow(
            "FindClusters", scope.per_region("dsql", "cluster/*"),
            "dsql:GetCluster", "dsql:ListClusters",
        ),
        _allow("CheckTheSchema", scope.clusters, "dsql:DbConnectAdmin"),
        _allow(
            "ManageStacks",
            scope.per_region("cloudformation", *(f"stack/{name}*/*" for name in names)),
            "cloudformation:CreateChangeSet", "cloudformation:CreateStack",
            "cloudformation:DeleteChangeSet", "cloudformation:DeleteStack",
            "cloudformation:DescribeChangeSet", "cloudformation:DescribeStackEvents",
            "cloudformation:DescribeStackResource", "cloudformation:DescribeStackResources",
            "cloudformation:DescribeStacks", "cloudformation:ExecuteChangeSet",
            "cloudformation:ListStackResources", "cloudformation:TagResource",
            "cloudformation:UpdateStack",
        ),
        _allow("ValidateTemplates", ["*"], "cloudformation:ValidateTemplate"),
        _allow(
            "ManageOwnRoles", roles,
            "iam:AttachRolePolicy", "iam:CreateRole", "iam:DeleteRole",
            "iam:DeleteRolePolicy", "iam:DetachRolePolicy", "iam:GetRole",
            "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListRolePolicies",
            "iam:PassRole", "iam:PutRolePolicy", "iam:TagRole",
            "iam:UntagRole", "iam:UpdateAssumeRolePolicy",
        ),
        _allow("ManageFunctions", functions, "lambda:*"),
        _allow(
            "ManageApis",
            [
                f"arn:{scope.partition}:apigateway:{region}::/{path}"
                for region in scope.topology.regions.values()
                for path in ("account", "restapis", "restapis/*", "tags/*")
            ],
            "apigateway:DELETE", "apigateway:GET", "apigateway:PATCH", "apigateway:POST",
            "apigateway:PUT",
        ),
        _allow(
            "KeepPackages", [*buckets, *(f"{name}/*" for name in buckets)],
            "s3:CreateBucket", "s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:DeleteObject",
            "s3:GetBucketLocation", "s3:GetBucketPolicy", "s3:PutBucketOwnershipControls",
            "s3:GetObject", "s3:ListBucket", "s3:PutBucketPublicAccessBlock",
            "s3:PutBucketPolicy", "s3:PutBucketTagging", "s3:PutEncryptionConfiguration",
            "s3:PutLifecycleConfiguration", "s3:PutObject",
        ),
        _allow(
            "KeepTheSecret", scope.per_region("secretsmanager", f"secret:{prefix}*"),
            "secretsmanager:CreateSecret", "secretsmanager:DeleteSecret",
            "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue",
            "secretsmanager:PutSecretValue", "secretsmanager:RemoveRegionsFromReplication",
            "secretsmanager:ReplicateSecretToRegions", "secretsmanager:TagResource",
            "secretsmanager:UntagResource", "secretsmanager:UpdateSecret",
        ),
        _allow(
            "ManageLogs",
            scope.per_region("logs", *(f"log-group:/aws/*/{name}*" for name in names)),
            "logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:DeleteRetentionPolicy",
            "logs:ListTagsForResource", "logs:PutRetentionPolicy", "logs:TagResource",
        ),
        # Zappa looks for a function's schedules whenever it removes one.
        _allow(
            "RemoveSchedules",
            scope.per_region("events", *(f"rule/{name}*" for name in names)),
            "events:DeleteRule", "events:DescribeRule", "events:ListTargetsByRule",
            "events:RemoveTargets",
        ),
        # These know no resource to name here.
        _allow(
            "LookAround", ["*"],
            "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs",
            "events:ListRuleNamesByTarget", "events:ListRules", "logs:DescribeLogGroups",
            "secretsmanager:GetRandomPassword", "secretsmanager:ListSecrets", "sts:GetCallerIdentity", "tag:GetResources",
        ),
    )  # fmt: skip


def runtime(scope: Scope) -> dict[str, Any]:
    """For the functions: to connect as a role of the database, to no other cluster."""
    return _document(_allow("ConnectToTheDatabase", scope.clusters, "dsql:DbConnect"))


PURPOSES = {"provision": provision, "deploy": deploy, "runtime": runtime}


def _document(*statements: Statement) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _allow(sid: str, resources: list[str], *actions: str) -> Statement:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": resources,
    }
