"""Whoever deploys cannot get further rights by it, nor reach what is somebody else's."""

import pytest

from ops.policies import PURPOSES, Scope
from ops.topology import Topology
from tests.ops.policies.evaluation import allows, tagged

ACCOUNT = "111122223333"
SHOP = Topology.from_environment({"CLUSTER_NAME_PREFIX": "shop"})
POLICY = PURPOSES["deploy"](Scope(SHOP, ACCOUNT, {}))
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/shop-boundary"
RUNTIME = f"arn:aws:iam::{ACCOUNT}:role/shop-primary-runtime"
LOGS = f"arn:aws:iam::{ACCOUNT}:role/shop-primary-gateway-logs"
SERVICE_ROLE = "arn:aws:iam::aws:policy/service-role"
OURS, OTHERS = tagged("ResourceTag", "shop"), tagged("ResourceTag", "bank")
SECRET = "secret:shop-django-key-12345678-1234-1234-1234-123456789012-AbCdEf"


def arn(service: str, resource: str, region: str = "us-east-1") -> str:
    return f"arn:aws:{service}:{region}:{ACCOUNT}:{resource}"


def api(path: str) -> str:
    return f"arn:aws:apigateway:us-east-1::/{path}"


@pytest.mark.parametrize(
    "action", ["CreateRole", "PutRolePolicy", "PutRolePermissionsBoundary"]
)
def test_the_functions_role_gets_rights_within_the_boundary_only(action: str) -> None:
    within = {"iam_PermissionsBoundary": BOUNDARY}
    wider = {"iam_PermissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess"}
    assert allows(POLICY, f"iam:{action}", RUNTIME, **within)
    assert not allows(POLICY, f"iam:{action}", RUNTIME)
    assert not allows(POLICY, f"iam:{action}", RUNTIME, **wider)


@pytest.mark.parametrize(
    "action",
    [
        "CreatePolicy", "CreatePolicyVersion", "DeletePolicy", "DeletePolicyVersion",
        "SetDefaultPolicyVersion", "TagPolicy", "UntagPolicy",
    ],
)  # fmt: skip
def test_the_boundary_cannot_be_changed(action: str) -> None:
    assert allows(POLICY, "iam:GetPolicyVersion", BOUNDARY)
    assert not allows(POLICY, f"iam:{action}", BOUNDARY)
    assert not allows(POLICY, "iam:DeleteRolePermissionsBoundary", RUNTIME)


def test_the_logging_role_gets_one_policy_of_awss_and_no_other() -> None:
    push = f"{SERVICE_ROLE}/AmazonAPIGatewayPushToCloudWatchLogs"
    admin = "arn:aws:iam::aws:policy/AdministratorAccess"
    assert allows(POLICY, "iam:CreateRole", LOGS)
    assert allows(POLICY, "iam:AttachRolePolicy", LOGS, iam_PolicyARN=push)
    for role, policy in ((LOGS, admin), (RUNTIME, push), (RUNTIME, admin)):
        assert not allows(POLICY, "iam:AttachRolePolicy", role, iam_PolicyARN=policy)
    within = {"iam_PermissionsBoundary": BOUNDARY}
    assert not allows(POLICY, "iam:PutRolePolicy", LOGS, **within)


def test_a_role_is_passed_to_the_services_that_take_it_and_to_no_other() -> None:
    def may_pass(role: str, service: str) -> bool:
        context = {"iam_PassedToService": f"{service}.amazonaws.com"}
        return allows(POLICY, "iam:PassRole", role, **context)

    assert may_pass(RUNTIME, "lambda")
    assert may_pass(LOGS, "apigateway")
    assert not may_pass(LOGS, "lambda")
    for service in ("ec2", "cloudformation", "ecs-tasks", "glue"):
        assert not may_pass(RUNTIME, service)
    assert not may_pass(f"arn:aws:iam::{ACCOUNT}:role/admin", "lambda")
    assert not allows(POLICY, "iam:PassRole", RUNTIME)


@pytest.mark.parametrize("action", ["DbConnectAdmin"])
def test_a_cluster_is_told_by_its_tags(action: str) -> None:
    cluster = arn("dsql", "cluster/abc")
    assert allows(POLICY, f"dsql:{action}", cluster, **OURS)
    assert not allows(POLICY, f"dsql:{action}", cluster, **OTHERS)
    assert not allows(POLICY, f"dsql:{action}", cluster)


@pytest.mark.parametrize(
    "action", ["CreateCluster", "DeleteCluster", "UpdateCluster", "TagResource"]
)
def test_no_cluster_is_made_changed_or_deleted(action: str) -> None:
    assert not allows(POLICY, f"dsql:{action}", arn("dsql", "cluster/abc"), **OURS)


@pytest.mark.parametrize("method", ["DELETE", "GET", "PATCH", "POST", "PUT"])
def test_an_api_is_told_by_its_tags(method: str) -> None:
    stage = api("restapis/abc123/stages/prod")
    assert allows(POLICY, f"apigateway:{method}", stage, **OURS)
    assert not allows(POLICY, f"apigateway:{method}", stage, **OTHERS)
    assert not allows(POLICY, f"apigateway:{method}", stage)


def test_of_other_teams_apis_it_is_read_whether_they_log_and_nothing_else() -> None:
    for path in ("restapis/abc123/stages", "apis", "apis/abc123/stages"):
        assert allows(POLICY, "apigateway:GET", api(path), **OTHERS)
        for method in ("DELETE", "PATCH", "POST", "PUT"):
            assert not allows(POLICY, f"apigateway:{method}", api(path), **OTHERS)
    assert not allows(
        POLICY, "apigateway:GET", api("restapis/abc123/resources"), **OTHERS
    )


def test_an_api_cannot_be_tagged_as_somebody_elses() -> None:
    path = api("tags/arn%3Aaws%3Aapigateway%3Aus-east-1%3A%3A%2Frestapis%2Fabc123")
    request = tagged("RequestTag", "shop")
    assert allows(POLICY, "apigateway:PUT", path, **request)
    assert not allows(POLICY, "apigateway:PUT", path, **tagged("RequestTag", "bank"))


def test_the_secret_is_told_by_its_name_and_its_tags() -> None:
    secret = arn("secretsmanager", SECRET)
    assert allows(POLICY, "secretsmanager:GetSecretValue", secret, **OURS)
    assert not allows(POLICY, "secretsmanager:GetSecretValue", secret, **OTHERS)
    made = tagged("RequestTag", "shop")
    assert allows(POLICY, "secretsmanager:CreateSecret", secret, **made)
    assert not allows(POLICY, "secretsmanager:CreateSecret", secret)


@pytest.mark.parametrize(
    ("action", "ours", "others"),
    [
        ("lambda:UpdateFunctionCode", "function:shop-primary", "function:shop-eu-primary"),
        ("lambda:UpdateFunctionCode", "function:shop-primary:7", "function:shopping"),
        ("cloudformation:DeleteStack", "stack/shop-primary/1", "stack/shop-primary-db/1"),
        ("cloudformation:DeleteStack", "stack/shop-primary-runtime/1", "stack/shop/1"),
        (
            "logs:DeleteLogGroup",
            "log-group:/aws/lambda/shop-primary",
            "log-group:/aws/lambda/shop-primary-old",
        ),
        ("secretsmanager:DeleteSecret", SECRET, "secret:shop-db-password-AbCdEf"),
    ],
)  # fmt: skip
def test_names_that_begin_like_ours_are_not_ours(
    action: str, ours: str, others: str
) -> None:
    service = action.split(":")[0]
    assert allows(POLICY, action, arn(service, ours), **OURS)
    assert not allows(POLICY, action, arn(service, others), **OURS)


def test_ours_are_each_in_their_own_region() -> None:
    action, function = "lambda:UpdateFunctionCode", "function:shop-primary"
    assert not allows(POLICY, action, arn("lambda", function, "us-east-2"))
    assert not allows(POLICY, action, arn("lambda", function, "eu-west-1"))


def test_the_bucket_is_named_exactly() -> None:
    bucket = f"arn:aws:s3:::shop-{ACCOUNT}-us-east-1"
    assert allows(POLICY, "s3:PutObject", f"{bucket}/package.zip")
    assert allows(POLICY, "s3:DeleteBucket", bucket)
    for other in (f"{bucket}-backup", "arn:aws:s3:::shop-invoices"):
        assert not allows(POLICY, "s3:DeleteBucket", other)
        assert not allows(POLICY, "s3:PutObject", f"{other}/package.zip")


def test_a_function_is_opened_to_api_gateway_and_its_schedule_and_nobody_else() -> None:
    function = arn("lambda", "function:shop-primary")
    for action in ("AddPermission", "RemovePermission"):
        for principal, allowed in (
            ("apigateway.amazonaws.com", True), ("events.amazonaws.com", True),
            ("s3.amazonaws.com", False), ("*", False), ("arn:aws:iam::999999999999:root", False),
        ):  # fmt: skip
            context = {"lambda_Principal": principal}
            found = allows(POLICY, f"lambda:{action}", function, **context)
            assert found == allowed, (action, principal)
        assert not allows(POLICY, f"lambda:{action}", function)
    for action in ("CreateFunctionUrlConfig", "UpdateFunctionUrlConfig"):
        assert not allows(POLICY, f"lambda:{action}", function)


def test_the_schedule_of_each_function_is_managed_and_no_other_rule() -> None:
    for action in ("PutRule", "PutTargets", "RemoveTargets", "DeleteRule"):
        own = arn("events", "rule/shop-primary-maintenance")
        assert allows(POLICY, f"events:{action}", own)
        for name in ("shop-primary", "other-primary-maintenance", "shop-maintenance"):
            assert not allows(POLICY, f"events:{action}", arn("events", f"rule/{name}"))


def test_what_tail_and_status_show_is_allowed() -> None:
    """Zappa swallows a denial of the metrics and shows 0."""
    group = arn("logs", "log-group:/aws/lambda/shop-primary")
    for action in ("DescribeLogStreams", "FilterLogEvents"):
        assert allows(POLICY, f"logs:{action}", group)
        assert allows(POLICY, f"logs:{action}", f"{group}:*")
    assert allows(POLICY, "cloudwatch:GetMetricStatistics", "*")


def test_an_accounts_first_api_may_bring_api_gateways_own_role() -> None:
    role = (
        f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/ops.apigateway.amazonaws.com/"
        f"AWSServiceRoleForAPIGateway"
    )
    for service, allowed in (("ops.apigateway", True), ("rds", False)):
        context = {"iam_AWSServiceName": f"{service}.amazonaws.com"}
        found = allows(POLICY, "iam:CreateServiceLinkedRole", role, **context)
        assert found == allowed, service


def test_a_deployment_can_also_be_removed() -> None:
    for action, resource in (
        ("cloudformation:DeleteStack", arn("cloudformation", "stack/shop-primary/1")),
        ("lambda:DeleteFunction", arn("lambda", "function:shop-primary")),
        ("events:ListRuleNamesByTarget", "*"),
        ("iam:ListRolePolicies", RUNTIME),
        ("iam:ListAttachedRolePolicies", LOGS),
        ("iam:DeleteRolePolicy", RUNTIME),
        ("iam:DeleteRole", LOGS),
        ("logs:DeleteLogGroup", arn("logs", "log-group:/aws/apigateway/shop-primary")),
        ("secretsmanager:DeleteSecret", arn("secretsmanager", SECRET)),
        ("s3:DeleteBucket", f"arn:aws:s3:::shop-{ACCOUNT}-us-east-1"),
    ):
        assert allows(POLICY, action, resource, **OURS), action
