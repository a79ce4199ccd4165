"""The policies allow what the commands call, and nothing wider."""

from typing import Any

import pytest

from ops.policies import PURPOSES, Scope
from ops.topology import Topology

SCOPE = Scope(Topology.from_environment({}), "111122223333", {})
# Without a resource to name, or only reading: the service authorization reference.
EVERYWHERE = {
    "cloudformation:ValidateTemplate", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets",
    "ec2:DescribeVpcs", "events:ListRuleNamesByTarget", "events:ListRules",
    "logs:DescribeLogGroups", "secretsmanager:GetRandomPassword",
    "secretsmanager:ListSecrets", "sts:GetCallerIdentity", "tag:GetResources",
}  # fmt: skip


def actions(statement: dict[str, Any]) -> set[str]:
    return set(statement["Action"])


@pytest.mark.parametrize("purpose", PURPOSES)
def test_only_what_has_no_resource_is_allowed_everywhere(purpose: str) -> None:
    for statement in PURPOSES[purpose](SCOPE)["Statement"]:
        assert "*" not in actions(statement)
        # The first cluster's service-linked role is named by a condition.
        if "*" in statement["Resource"] and "Condition" not in statement:
            assert actions(statement) <= EVERYWHERE, statement


def test_a_deployment_can_also_be_removed() -> None:
    """Zappa asks for a function's schedules, CloudFormation lists a role's policies."""
    allowed = set().union(*map(actions, PURPOSES["deploy"](SCOPE)["Statement"]))
    assert allowed >= {
        "events:ListRuleNamesByTarget", "events:DeleteRule", "iam:ListRolePolicies",
        "iam:ListAttachedRolePolicies", "iam:DeleteRole", "lambda:*",
        "cloudformation:DeleteStack", "secretsmanager:DeleteSecret",
        "logs:DeleteLogGroup", "s3:DeleteBucket",
    }  # fmt: skip


def test_the_runtime_may_connect_and_nothing_else() -> None:
    (statement,) = PURPOSES["runtime"](SCOPE)["Statement"]
    assert statement["Action"] == ["dsql:DbConnect"]
