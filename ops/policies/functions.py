"""The role of a Region's function, as the runtime stack's template makes it. Pure."""

from dataclasses import replace
from typing import Any

from ops.policies.document import Document, Scope, Statement, document
from ops.stacks.runtime import TEMPLATE, parameters
from ops.stacks.template import Template


def role(scope: Scope) -> dict[str, Any]:
    """The properties of AWS::IAM::Role."""
    topology, stage = scope.topology, scope.stage
    arns = {name: scope.cluster_arn(name) for name in topology.regions}
    values = {
        **parameters(topology, stage, arns, in_vpc=scope.in_vpc),
        "AWS::Partition": scope.partition,
        "AWS::Region": topology.regions[stage],
        "AWS::AccountId": scope.account,
    }
    return Template.read(TEMPLATE, values).properties("FunctionRole")


def runtime(scope: Scope) -> Document:
    """What the function may do: all of the role."""
    (policy,) = role(scope)["Policies"]
    found: Document = policy["PolicyDocument"]
    return found


def trust(scope: Scope) -> Document:
    """Who may take the role."""
    found: Document = role(scope)["AssumeRolePolicyDocument"]
    return found


def services(scope: Scope) -> list[str]:
    """The services that take the role."""
    (statement,) = trust(scope)["Statement"]
    return sorted(as_list(statement["Principal"]["Service"]))


def boundary(scope: Scope) -> Document:
    """The most that any of the functions' roles may ever do: what the template gives them.

    In either Region, in a VPC or not, and to clusters that may be made again: they let in
    only whom their database maps to a role of its own.
    """
    merged: dict[str, Statement] = {}
    for stage in scope.topology.regions:
        widest = replace(scope, stage=stage, in_vpc=True, cluster_arns={})
        for statement in runtime(widest)["Statement"]:
            known = merged.setdefault(statement["Sid"], {**statement, "Resource": []})
            for resource in as_list(statement["Resource"]):
                if resource not in known["Resource"]:
                    known["Resource"].append(resource)
    return document(*merged.values())


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
