"""The function and the API stack that Zappa makes: whether they are whole, and whose."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ops import aws, ownership
from ops.ownership import NEVER_SERVED, NotReady
from ops.topology import Topology

ABSENT, PARTIAL, COMPLETE = "absent", "partial", "complete"
API_ONLY = "API without its function"
# CloudFormation's states in which Zappa can update its API stack.
UPDATABLE = {
    "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
}  # fmt: skip
# What of a function's configuration a deployment sets and Zappa's rollback leaves.
KEPT = ("Environment", "MemorySize", "Timeout", "VpcConfig")
IN_A_VPC = ("SubnetIds", "SecurityGroupIds")
Say = Callable[[str], None]


def state(topology: Topology, stage: str) -> str:
    """COMPLETE when both our function and Zappa's API stack are there.

    PARTIAL never served and may be removed; API_ONLY keeps its address when Zappa deploys
    again. Raises NotReady when either is somebody else's, while the stack changes, or
    when only the CloudFormation console can repair it.
    """
    region, name = topology.function(stage)
    stack = ownership.stack(topology, region, name)
    there = ownership.function(topology, region, name) is not None
    if stack is None:
        return PARTIAL if there else ABSENT
    status = stack["StackStatus"]
    if status in NEVER_SERVED:
        return PARTIAL
    if status in UPDATABLE:
        return COMPLETE if there else API_ONLY
    raise NotReady(
        f"{region}: stack {name} is {status}. Wait until it is done; if it stays so, see its "
        f"events in the CloudFormation console, or remove it: `zappa undeploy {stage}`. Then "
        f"run the command again."
    )


def require_ours(topology: Topology, stage: str) -> None:
    """Raise NotReady when a function or a stack has the name of ours and is not ours."""
    region, name = topology.function(stage)
    ownership.stack(topology, region, name)
    ownership.function(topology, region, name)


def contents(topology: Topology, stage: str) -> list[str]:
    """What a removal takes with it, a line each; nothing when all is absent.

    Raises NotReady as require_ours().
    """
    region, name = topology.function(stage)
    stack = ownership.stack(topology, region, name)
    there = ownership.function(topology, region, name) is not None
    lines = ownership.contents(region, stack) if stack else []
    return [*([f"{region}: function {name}"] if there else []), *lines]


def remove(topology: Topology, stage: str) -> None:
    """Delete our API stack and our function, whatever state they are in.

    Not by Zappa, which without its stack deletes every API of the function's name, and
    every rule that anybody has pointed at the function. Raises NotReady and aws.AwsError.
    """
    region, name = topology.function(stage)
    stack = ownership.stack(topology, region, name)
    there = ownership.function(topology, region, name) is not None
    formation = aws.client("cloudformation", region)
    with aws.explained():
        if stack is not None:
            formation.delete_stack(StackName=stack["StackId"])
            formation.get_waiter("stack_delete_complete").wait(
                StackName=stack["StackId"]
            )
        if there:
            aws.client("lambda", region).delete_function(FunctionName=name)


def remove_function(topology: Topology, stage: str) -> None:
    """Delete our function and leave its API, which keeps its address."""
    region, name = topology.function(stage)
    if ownership.function(topology, region, name) is not None:
        with aws.explained():
            aws.client("lambda", region).delete_function(FunctionName=name)


def version(topology: Topology, stage: str) -> int:
    """The number of the newest version published; 0 when there is none."""
    return max(versions(topology, stage), default=0)


def versions(topology: Topology, stage: str) -> list[int]:
    """The numbers of the versions published and kept."""
    region, name = topology.function(stage)
    if ownership.function(topology, region, name) is None:
        return []
    client = aws.client("lambda", region)
    with aws.explained():
        pages = client.get_paginator("list_versions_by_function").paginate(
            FunctionName=name
        )
        named = [found["Version"] for page in pages for found in page["Versions"]]
    return [int(number) for number in named if number.isdigit()]


def variables(topology: Topology, stage: str) -> dict[str, str] | None:
    """The environment variables of our function; None when it is absent."""
    found = ownership.function(topology, *topology.function(stage))
    return None if found is None else _variables(found)


def keep_variables(topology: Topology, stage: str, names: Collection[str]) -> None:
    """Drop all others: Zappa's update merges what a function has into what it shall have."""
    now = variables(topology, stage) or {}
    _configure(topology, stage, {k: v for k, v in now.items() if k in names}, now)


def add_variables(topology: Topology, stage: str, more: Mapping[str, str]) -> None:
    """Set these beside what a deployed function has; nothing happens to an absent one."""
    now = variables(topology, stage)
    if now is not None:
        _configure(topology, stage, {**now, **more}, now)


def settings(topology: Topology, stage: str) -> dict[str, Any]:
    """What restore() takes; nothing when the function is absent."""
    found = ownership.function(topology, *topology.function(stage)) or {}
    kept = {key: found[key] for key in KEPT if key in found}
    if "VpcConfig" in kept:
        kept["VpcConfig"] = {key: kept["VpcConfig"].get(key, []) for key in IN_A_VPC}
    return kept


def restore(topology: Topology, stage: str, kept: Mapping[str, Any]) -> None:
    """Put variables, memory, timeout and network back."""
    if kept != settings(topology, stage):
        _update(topology, stage, {"Environment": {"Variables": {}}, **kept})


def _configure(
    topology: Topology, stage: str, wanted: Mapping[str, str], now: Mapping[str, str]
) -> None:
    if wanted != now:
        _update(topology, stage, {"Environment": {"Variables": dict(wanted)}})


def _update(topology: Topology, stage: str, change: Mapping[str, Any]) -> None:
    """Only called with a change to what was read from our own function."""
    region, name = topology.function(stage)
    client = aws.client("lambda", region)
    with aws.explained():
        client.get_waiter("function_updated_v2").wait(FunctionName=name)
        client.update_function_configuration(FunctionName=name, **change)
        client.get_waiter("function_updated_v2").wait(FunctionName=name)


def _variables(configuration: Mapping[str, Any]) -> dict[str, str]:
    return dict(configuration.get("Environment", {}).get("Variables", {}))
