"""The printed role is the one of the template, and never wider than its boundary."""

from fnmatch import fnmatchcase
from typing import Any

import pytest
from cfnlint.decode.cfn_yaml import load

from ops.policies import PURPOSES, Scope
from ops.policies.functions import as_list, iam_role, services
from ops.stacks.runtime import RuntimeParameters
from ops.topology import ROLES, Topology

TOPOLOGY = Topology.from_environment({})
ARNS = {
    role: f"arn:aws:dsql:{region}:111122223333:cluster/{role}"
    for role, region in TOPOLOGY.regions.items()
}


def scope(role: str = "primary", *, in_vpc: bool = False) -> Scope:
    return Scope(TOPOLOGY, "111122223333", ARNS, role=role, in_vpc=in_vpc)


def actions(document: dict[str, Any]) -> set[str]:
    return {a for each in document["Statement"] for a in as_list(each["Action"])}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("in_vpc", [False, True])
def test_what_is_printed_is_all_that_the_template_gives(
    role: str, in_vpc: bool
) -> None:
    """Read by cfn-lint's own parser: every statement, but for those without a VPC."""
    properties = load(str(RuntimeParameters.TEMPLATE))["Resources"]["FunctionRole"][
        "Properties"
    ]
    expected = [
        each["Fn::If"][1] if "Fn::If" in each else each
        for each in properties["Policies"][0]["PolicyDocument"]["Statement"]
        if in_vpc or "Fn::If" not in each
    ]
    printed = PURPOSES["runtime"](scope(role, in_vpc=in_vpc))["Statement"]
    assert [each["Sid"] for each in printed] == [each["Sid"] for each in expected]
    for found, wanted in zip(printed, expected, strict=True):
        assert found["Action"] == wanted["Action"]
        assert len(as_list(found["Resource"])) == len(as_list(wanted["Resource"]))
    assert len(properties["Policies"]) == 1
    assert "ManagedPolicyArns" not in properties


def test_the_role_names_both_clusters_and_what_is_its_own() -> None:
    found = {each["Sid"]: each for each in PURPOSES["runtime"](scope())["Statement"]}
    assert found["ConnectToDatabase"]["Resource"] == list(ARNS.values())
    assert found["WriteOwnLogs"]["Resource"] == (
        "arn:aws:logs:us-east-1:111122223333:log-group:/aws/lambda/multi-region-app-primary:*"
    )


def test_the_role_may_not_connect_as_admin_nor_change_anything_of_aws() -> None:
    for role in ROLES:
        found = actions(PURPOSES["runtime"](scope(role, in_vpc=True)))
        assert "dsql:DbConnectAdmin" not in found
        assert not {
            each for each in found if each.startswith(("iam:", "secretsmanager:"))
        }


def test_a_vpcs_rights_are_there_only_in_a_vpc() -> None:
    assert "ec2:CreateNetworkInterface" in actions(
        PURPOSES["runtime"](scope(in_vpc=True))
    )
    assert not {
        a for a in actions(PURPOSES["runtime"](scope())) if a.startswith("ec2:")
    }


@pytest.mark.parametrize("role", ROLES)
def test_the_role_is_made_with_the_boundary(role: str) -> None:
    made = iam_role(scope(role))
    assert made["PermissionsBoundary"] == (
        "arn:aws:iam::111122223333:policy/multi-region-app-boundary"
    )
    assert made["RoleName"] == f"multi-region-app-{role}-runtime"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("in_vpc", [False, True])
def test_the_boundary_holds_all_that_a_role_needs(role: str, in_vpc: bool) -> None:
    boundary = PURPOSES["boundary"](scope())["Statement"]
    for statement in PURPOSES["runtime"](scope(role, in_vpc=in_vpc))["Statement"]:
        for action in as_list(statement["Action"]):
            for resource in as_list(statement["Resource"]):
                assert any(
                    action in as_list(each["Action"])
                    and any(fnmatchcase(resource, r) for r in each["Resource"])
                    for each in boundary
                ), (action, resource)


def test_the_boundary_holds_nothing_that_no_role_needs() -> None:
    needed = set().union(
        *(actions(PURPOSES["runtime"](scope(role, in_vpc=True))) for role in ROLES)
    )
    assert actions(PURPOSES["boundary"](scope())) == needed


def test_the_services_that_take_the_role_are_those_of_the_template() -> None:
    properties = load(str(RuntimeParameters.TEMPLATE))["Resources"]["FunctionRole"][
        "Properties"
    ]
    (statement,) = properties["AssumeRolePolicyDocument"]["Statement"]
    assert services(scope()) == as_list(statement["Principal"]["Service"])
