"""The IAM role of a function, as the template of the runtime stack makes it. Pure."""

from dataclasses import replace
from typing import Any

from ops.policies.document import Document, Scope, Statement, document
from ops.stacks.runtime import RuntimeParameters
from ops.stacks.template import Template


def iam_role(scope: Scope) -> dict[str, Any]:
    """The properties of AWS::IAM::Role."""
    topology, role = scope.topology, scope.role
    arns = {name: scope.cluster_arn(name) for name in topology.regions}
    values = {
        **RuntimeParameters.build(topology, role, arns, in_vpc=scope.in_vpc).values(),
        "AWS::Partition": scope.partition,
        "AWS::Region": topology.regions[role],
        "AWS::AccountId": scope.account,
    }
    return Template.read(RuntimeParameters.TEMPLATE, values).properties("FunctionRole")


def runtime(scope: Scope) -> Document:
    """What the function may do: the whole policy of its role."""
    (policy,) = iam_role(scope)["Policies"]
    found: Document = policy["PolicyDocument"]
    return found


def trust(scope: Scope) -> Document:
    """Who may take the role."""
    found: Document = iam_role(scope)["AssumeRolePolicyDocument"]
    return found


def services(scope: Scope) -> list[str]:
    """The services that take the role."""
    (statement,) = trust(scope)["Statement"]
    return sorted(as_list(statement["Principal"]["Service"]))


def boundary(scope: Scope) -> Document:
    """The most that the role of any function may ever do: what the template gives it.

    In either Region, in a VPC or not, and with clusters that may be made again: a cluster
    lets in only those whom its database maps to a role of its own.
    """
    merged: dict[str, Statement] = {}
    for role in scope.topology.regions:
        widest = replace(scope, role=role, in_vpc=True, cluster_arns={})
        for statement in runtime(widest)["Statement"]:
            known = merged.setdefault(statement["Sid"], {**statement, "Resource": []})
            for resource in as_list(statement["Resource"]):
                if resource not in known["Resource"]:
                    known["Resource"].append(resource)
    return document(*merged.values())


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
