"""The part of ``deploy`` for `manage.py stack`. Pure.

No role can be created or granted permissions beyond the permissions boundary. Everything is
named exactly; AWS chooses a part of the secret's name, so its tags are required as well.
"""

from collections.abc import Iterator

from ops.policies import functions
from ops.policies.document import GATEWAY, Scope, Statement, allow

PUSH_LOGS = "policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"


def statements(scope: Scope) -> Iterator[Statement]:
    yield from _roles(scope)
    yield from _resources(scope)
    yield from _secret(scope)


def _roles(scope: Scope) -> Iterator[Statement]:
    runtime, logs = scope.roles("runtime"), scope.roles("gateway-logs")
    yield allow(
        "GrantWithinBoundary", runtime,
        "iam:CreateRole", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy",
        condition={"StringEquals": {"iam:PermissionsBoundary": scope.boundary}},
    )  # fmt: skip
    yield allow("CreateLogRoles", logs, "iam:CreateRole")
    yield allow(
        "AttachLogPolicy", logs, "iam:AttachRolePolicy", "iam:DetachRolePolicy",
        condition={
            "ArnEquals": {"iam:PolicyARN": f"arn:{scope.partition}:iam::aws:{PUSH_LOGS}"}
        },
    )  # fmt: skip
    for sid, roles, services in (
        # API Gateway too, which cannot take it: Zappa names the role in its integrations,
        # and whoever names one there passes it on. A deployment takes it out again.
        ("PassRuntimeRoles", runtime, sorted({*functions.services(scope), GATEWAY})),
        ("PassLogRoles", logs, [GATEWAY]),
    ):
        condition = {"StringEquals": {"iam:PassedToService": services}}
        yield allow(sid, roles, "iam:PassRole", condition=condition)
    yield allow(
        "ManageRoles", [*runtime, *logs],
        "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:GetRole", "iam:GetRolePolicy",
        "iam:ListAttachedRolePolicies", "iam:ListRolePolicies", "iam:TagRole",
        "iam:UntagRole", "iam:UpdateAssumeRolePolicy",
    )  # fmt: skip
    yield allow(
        "ReadBoundary", [scope.boundary], "iam:GetPolicy", "iam:GetPolicyVersion"
    )


def _resources(scope: Scope) -> Iterator[Statement]:
    yield allow(
        "ManageStacks",
        # The runtime stack and the one that Zappa makes for the API.
        scope.named("cloudformation", "stack/{}-runtime/*", "stack/{}/*"),
        "cloudformation:CreateChangeSet", "cloudformation:CreateStack",
        "cloudformation:DeleteChangeSet", "cloudformation:DeleteStack",
        "cloudformation:DescribeChangeSet", "cloudformation:DescribeStackEvents",
        "cloudformation:DescribeStackResource", "cloudformation:DescribeStacks",
        "cloudformation:ExecuteChangeSet", "cloudformation:ListStackResources",
        "cloudformation:TagResource", "cloudformation:UpdateStack",
    )  # fmt: skip
    yield allow(
        "ManageSchedules", scope.named("events", "rule/{}-maintenance"),
        "events:DeleteRule", "events:DescribeRule", "events:ListTargetsByRule",
        "events:PutRule", "events:PutTargets", "events:RemoveTargets", "events:TagResource",
        "events:UntagResource",
    )  # fmt: skip
    yield allow(
        "ManageBuckets", scope.buckets(),
        "s3:CreateBucket", "s3:DeleteBucket", "s3:DeleteBucketPolicy",
        "s3:GetBucketLocation", "s3:GetBucketPolicy", "s3:GetBucketTagging", "s3:ListBucket",
        "s3:PutBucketOwnershipControls", "s3:PutBucketPolicy",
        "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging",
        "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration",
    )  # fmt: skip
    yield allow(
        "ManagePackages", scope.buckets("/*"),
        "s3:DeleteObject", "s3:GetObject", "s3:PutObject",
    )  # fmt: skip
    yield allow(
        "ManageLogs", scope.log_groups("lambda", "apigateway"),
        "logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:DeleteRetentionPolicy",
        "logs:DescribeLogStreams", "logs:FilterLogEvents", "logs:ListTagsForResource", "logs:PutRetentionPolicy", "logs:TagResource",
    )  # fmt: skip


def _secret(scope: Scope) -> Iterator[Statement]:
    yield allow(
        "CreateSecret", scope.secrets(), "secretsmanager:CreateSecret",
        condition=scope.request_tags_ours,
    )  # fmt: skip
    yield allow(
        "ManageSecret", scope.secrets(),
        "secretsmanager:DeleteSecret", "secretsmanager:DescribeSecret",
        "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue",
        "secretsmanager:RemoveRegionsFromReplication",
        "secretsmanager:ReplicateSecretToRegions", "secretsmanager:TagResource",
        "secretsmanager:UntagResource", "secretsmanager:UpdateSecret",
        condition=scope.resource_is_ours,
    )  # fmt: skip
