"""Every printed policy against AWS's service authorization data, which cfn-lint ships."""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest
from cfnlint.api import lint
from cfnlint.config import ManualArgs
from cfnlint.data import AdditionalSpecs
from cfnlint.helpers import load_resource

from ops.policies import NOTES, PURPOSES, Scope
from ops.policies.document import MAX_MANAGED, in_parts, size
from ops.policies.functions import as_list
from ops.topology import Topology

SERVICES: dict[str, Any] = load_resource(AdditionalSpecs, "Policies.json")
TAGGED = "aws:ResourceTag/"
SHORT = Topology.from_environment({})
LONG = Topology.from_environment(
    {
        "CLUSTER_NAME_PREFIX": "p" * 32,
        "PRIMARY_REGION": "ap-southeast-1",
        "SECONDARY_REGION": "ap-northeast-2",
        "WITNESS_REGION": "ap-northeast-1",
    }
)
SINGLE = Topology.from_environment({}, single_region=True)
KEY = "12345678-1234-1234-1234-123456789012"
SCOPES = {
    "a first deployment": Scope(SHORT, "111122223333", {}),
    "long names": Scope(
        LONG, "111122223333", {}, kms_keys={"primary": KEY, "secondary": "alias/mine"}
    ),
    "clusters": Scope(
        SHORT, "111122223333",
        {
            role: f"arn:aws:dsql:{region}:111122223333:cluster/{'a' * 26}"
            for role, region in SHORT.regions.items()
        },
        role="secondary", in_vpc=True,
    ),
    "one Region": Scope(SINGLE, "111122223333", {}),
}  # fmt: skip
# A trust policy has no resources: the role is what it belongs to.
IDENTITY = [purpose for purpose in PURPOSES if purpose != "trust"]

every_scope = pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)
every_purpose = pytest.mark.parametrize("purpose", IDENTITY)


def statements(purpose: str, scope: Scope) -> Iterator[tuple[Any, list[Any]]]:
    """Each statement with what the data say of its actions."""
    for statement in PURPOSES[purpose](scope)["Statement"]:
        found = []
        for action in as_list(statement["Action"]):
            service, name = action.split(":")
            assert name.lower() in SERVICES[service]["Actions"], f"no action {action}"
            kinds = SERVICES[service]["Actions"][name.lower()].get("Resources", [])
            types = SERVICES[service]["Resources"]
            found.append((action, [types[kind.lower()] for kind in as_list(kinds)]))
        yield statement, found


def is_of(resource: str, kind: Any) -> bool:
    """Whether the ARN, wildcards and all, names a resource of that type."""
    _, partition, _, region, account, _ = resource.split(":", 5)
    for arn in kind["ARNFormats"]:
        for variable, value in (
            ("Partition", partition), ("Region", region), ("Account", account),
        ):  # fmt: skip
            arn = arn.replace(f"${{{variable}}}", value)
        # A pattern of ours is one of theirs, or theirs has a member that is one of ours.
        if re.fullmatch(arn, resource) or fnmatchcase(arn.replace(".*", "x"), resource):
            return True
    return False


@every_scope
@every_purpose
def test_what_knows_no_resource_stands_on_everything_and_nothing_else_does(
    purpose: str, scope: Scope
) -> None:
    for statement, actions in statements(purpose, scope):
        everything = as_list(statement["Resource"]) == ["*"]
        for action, kinds in actions:
            assert everything == (not kinds), (statement["Sid"], action)


@every_scope
@every_purpose
def test_every_resource_is_of_a_type_that_each_action_knows(
    purpose: str, scope: Scope
) -> None:
    for statement, actions in statements(purpose, scope):
        resources = as_list(statement["Resource"])
        for action, kinds in actions:
            if resources != ["*"]:
                for resource in resources:
                    assert any(is_of(resource, kind) for kind in kinds), (
                        action,
                        resource,
                    )


@every_scope
@every_purpose
def test_a_condition_on_tags_is_known_to_every_resource_it_is_for(
    purpose: str, scope: Scope
) -> None:
    for statement, actions in statements(purpose, scope):
        keys = [k for pairs in statement.get("Condition", {}).values() for k in pairs]
        if any(key.startswith(TAGGED) for key in keys):
            for _, kinds in actions:
                for resource in as_list(statement["Resource"]):
                    of = [kind for kind in kinds if is_of(resource, kind)]
                    assert of
                    for kind in of:
                        assert f"{TAGGED}${{TagKey}}" in kind["ConditionKeys"]


@every_scope
@every_purpose
def test_no_action_is_named_by_a_pattern_and_each_statement_by_its_own_name(
    purpose: str, scope: Scope
) -> None:
    found = PURPOSES[purpose](scope)["Statement"]
    actions = [a for statement in found for a in as_list(statement["Action"])]
    assert not [action for action in actions if "*" in action or "?" in action]
    names = [statement["Sid"] for statement in found]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[A-Za-z0-9]+", name) for name in names)


@every_scope
def test_cfn_lint_finds_nothing(scope: Scope) -> None:
    parts = [part for p in IDENTITY for part in in_parts(PURPOSES[p](scope))]
    template = {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Resources": {
            f"Part{number}": {
                "Type": "AWS::IAM::ManagedPolicy",
                "Properties": {"PolicyDocument": part},
            }
            for number, part in enumerate(parts)
        },
    }
    # Resources are literal on purpose: what is printed is for one account and partition.
    config = ManualArgs(include_checks=["I"], ignore_checks=["I3042"])
    assert lint(json.dumps(template), config=config) == []


@every_scope
@every_purpose
def test_the_parts_are_the_whole_and_fit_into_managed_policies(
    purpose: str, scope: Scope
) -> None:
    whole = PURPOSES[purpose](scope)
    parts = in_parts(whole)
    assert all(size(part) <= MAX_MANAGED for part in parts)
    assert [s for part in parts for s in part["Statement"]] == whole["Statement"]


@every_scope
def test_the_boundary_is_one_managed_policy(scope: Scope) -> None:
    assert len(in_parts(PURPOSES["boundary"](scope))) == 1


def test_the_trust_policy_names_services_alone() -> None:
    (statement,) = PURPOSES["trust"](SCOPES["a first deployment"])["Statement"]
    assert statement["Action"] == "sts:AssumeRole"
    assert set(statement["Principal"]) == {"Service"}


def test_of_every_policy_it_is_said_what_its_holder_can_do() -> None:
    assert set(NOTES) == set(PURPOSES)
    assert "administrator of the application" in NOTES["deploy"]
    assert "no administrator of the account" in NOTES["deploy"]
