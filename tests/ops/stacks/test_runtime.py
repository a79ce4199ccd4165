from typing import Any

import boto3
import pytest
from cfnlint.api import lint_file
from cfnlint.decode.cfn_yaml import load
from moto import mock_aws

from ops.stacks.runtime import RuntimeParameters
from ops.topology import Topology

TEMPLATE = RuntimeParameters.TEMPLATE

# AWS offers no narrower resource for these: the service authorization reference.
UNNAMED = {
    "SendTraces": {"xray:PutTelemetryRecords", "xray:PutTraceSegments"},
    "DescribeVpc": {"ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"},
}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    found: dict[str, Any] = load(str(TEMPLATE))["Resources"]
    return found


@pytest.fixture(scope="module")
def statements(resources: dict[str, Any]) -> dict[str, Any]:
    (policy,) = resources["FunctionRole"]["Properties"]["Policies"]
    found = policy["PolicyDocument"]["Statement"]
    # The conditional statement is the second member of its Fn::If.
    return {
        each["Sid"]: each
        for entry in found
        for each in [entry["Fn::If"][1] if "Fn::If" in entry else entry]
    }


def test_cfn_lint_finds_nothing() -> None:
    assert lint_file(TEMPLATE) == []


def test_the_role_allows_these_actions_and_no_others(
    statements: dict[str, Any],
) -> None:
    allowed = {sid: set(as_list(each["Action"])) for sid, each in statements.items()}
    assert allowed == {
        "ConnectToDatabase": {"dsql:DbConnect"},
        "WriteOwnLogs": {"logs:CreateLogStream", "logs:PutLogEvents"},
        "JoinVpc": {
            "ec2:AssignPrivateIpAddresses",
            "ec2:CreateNetworkInterface",
            "ec2:DeleteNetworkInterface",
            "ec2:UnassignPrivateIpAddresses",
        },
        **UNNAMED,
    }
    assert all(each["Effect"] == "Allow" for each in statements.values())


def test_lambda_alone_takes_the_role(resources: dict[str, Any]) -> None:
    trust = resources["FunctionRole"]["Properties"]["AssumeRolePolicyDocument"]
    (statement,) = trust["Statement"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert statement["Action"] == "sts:AssumeRole"


def test_only_what_cannot_be_named_is_allowed_on_everything(
    statements: dict[str, Any],
) -> None:
    for sid, each in statements.items():
        everything = "*" in as_list(each["Resource"])
        assert everything == (sid in UNNAMED), sid


def test_the_database_is_named_by_both_arns(statements: dict[str, Any]) -> None:
    assert statements["ConnectToDatabase"]["Resource"] == [
        {"Ref": "ClusterArn"}, {"Ref": "PeerClusterArn"},
    ]  # fmt: skip


def test_the_bucket_is_private_encrypted_and_empties_itself(
    resources: dict[str, Any],
) -> None:
    bucket = resources["Artifacts"]["Properties"]
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert bucket["BucketEncryption"]
    assert bucket["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"] == 7


def test_logs_end(resources: dict[str, Any]) -> None:
    for name in ("FunctionLogs", "AccessLogs"):
        properties = resources[name]["Properties"]
        assert properties["RetentionInDays"] == {"Ref": "LogRetentionDays"}


# moto has no bucket policies in CloudFormation; the stack is made without it.
@pytest.mark.filterwarnings("ignore:Tried to parse AWS..S3..BucketPolicy")
@mock_aws
def test_the_role_that_a_stack_makes_has_the_boundary() -> None:
    session = boto3.Session("test", "test", region_name="us-east-2")
    arns = dict.fromkeys(("primary", "secondary"), "arn:aws:dsql:us-east-2:1:cluster/a")
    topology = Topology.from_environment({})
    values = RuntimeParameters.build(topology, "secondary", arns, in_vpc=False).values()
    session.client("cloudformation").create_stack(
        StackName="runtime",
        TemplateBody=TEMPLATE.read_text(),
        Parameters=[
            {"ParameterKey": name, "ParameterValue": value}
            for name, value in values.items()
        ],
    )
    made = session.client("iam").get_role(RoleName="multi-region-app-secondary-runtime")
    assert made["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == (
        "arn:aws:iam::123456789012:policy/multi-region-app-boundary"
    )
    (bucket,) = session.client("s3").list_buckets()["Buckets"]
    assert bucket["Name"] == "multi-region-app-123456789012-us-east-2"
