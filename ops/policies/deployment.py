"""For `manage.py stack`, `zappa` and the checks before them. Pure.

No role can be created or granted permissions beyond the permissions boundary, and only our
roles can be passed, to the services that use them. Everything is named exactly except the
APIs, whose ids AWS chooses: their tags are required.
"""

from collections.abc import Iterator

from ops.policies import stacks
from ops.policies.clusters import find_clusters
from ops.policies.document import (
    EVERYTHING,
    GATEWAY,
    SCHEDULER,
    Document,
    Scope,
    Statement,
    allow,
    document,
)


def deploy(scope: Scope) -> Document:
    return document(
        *find_clusters(scope),
        scope.connect_as_admin("CheckSchema"),
        *stacks.statements(scope),
        _functions(scope),
        allow(
            "AllowApiAndScheduleToInvoke", scope.named("lambda", "function:{}", "function:{}:*"),
            "lambda:AddPermission", "lambda:RemovePermission",
            condition={"StringEquals": {"lambda:Principal": [GATEWAY, SCHEDULER]}},
        ),
        *_apis(scope),
        allow(
            # These know no resource: the service authorization reference.
            "ReadUnscopedResources", EVERYTHING,
            "cloudformation:ValidateTemplate", "cloudwatch:GetMetricStatistics",
            "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs",
            "events:ListRuleNamesByTarget", "logs:DescribeLogGroups",
            "secretsmanager:GetRandomPassword", "secretsmanager:ListSecrets",
            "sts:GetCallerIdentity", "tag:GetResources",
        ),
    )  # fmt: skip


def _functions(scope: Scope) -> Statement:
    return allow(
        "ManageFunctions", scope.named("lambda", "function:{}", "function:{}:*"),
        "lambda:CreateAlias", "lambda:CreateFunction", "lambda:DeleteFunction",
        "lambda:DeleteFunctionConcurrency", "lambda:DeleteFunctionUrlConfig",
        "lambda:DeleteProvisionedConcurrencyConfig", "lambda:GetAlias",
        "lambda:GetFunction", "lambda:GetFunctionConfiguration", "lambda:GetPolicy",
        "lambda:GetProvisionedConcurrencyConfig", "lambda:InvokeFunction",
        "lambda:ListFunctionUrlConfigs", "lambda:ListTags",
        "lambda:ListVersionsByFunction", "lambda:PublishVersion",
        "lambda:PutFunctionConcurrency", "lambda:PutProvisionedConcurrencyConfig",
        "lambda:TagResource", "lambda:UntagResource", "lambda:UpdateAlias",
        "lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration",
    )  # fmt: skip


def _apis(scope: Scope) -> Iterator[Statement]:
    # The logging role of each Region, which is set where nobody else has set one.
    yield allow(
        "SetLogRole", scope.apis("account"), "apigateway:GET", "apigateway:PATCH"
    )
    # Before it is removed: which APIs write their logs with it, including other teams'.
    yield allow(
        "ReadLoggingStages", scope.apis("restapis/*/stages", "apis", "apis/*/stages"),
        "apigateway:GET",
    )  # fmt: skip
    yield allow(
        "CreateApis", scope.apis("restapis"), "apigateway:GET", "apigateway:POST"
    )
    yield allow(
        "ManageApis", scope.apis("restapis/*"),
        "apigateway:DELETE", "apigateway:GET", "apigateway:PATCH", "apigateway:POST",
        "apigateway:PUT",
        condition=scope.resource_is_ours,
    )  # fmt: skip
    yield allow(
        # Of REST APIs and their stages: the path is the encoded ARN.
        "TagApis", scope.apis("tags/arn*restapis*"), "apigateway:PUT",
        condition={"StringEqualsIfExists": scope.tags("aws:RequestTag")},
    )  # fmt: skip
    # API Gateway makes it with an account's first API.
    yield allow(
        "CreateServiceLinkedRole",
        scope.iam("role", f"aws-service-role/ops.{GATEWAY}/*"),
        "iam:CreateServiceLinkedRole",
        condition={"StringEquals": {"iam:AWSServiceName": f"ops.{GATEWAY}"}},
    )
