"""The function that Zappa makes: whether it is whole, and what Zappa leaves on it."""

from collections.abc import Collection, Mapping
from typing import Any

from ops import aws
from ops.deploy.found import NotReady

ABSENT, PARTIAL, COMPLETE = "absent", "partial", "complete"
# CloudFormation's states in which Zappa can update its API stack ...
UPDATABLE = {
    "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
}  # fmt: skip
# ... and in which nothing serves: a creation that failed, or a deletion.
BROKEN = {
    "CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "REVIEW_IN_PROGRESS",
    "DELETE_FAILED",
}  # fmt: skip
# What of a function's configuration a deployment sets and Zappa's rollback leaves.
KEPT = ("Environment", "MemorySize", "Timeout", "VpcConfig")
IN_A_VPC = ("SubnetIds", "SecurityGroupIds")


def state(region: str, name: str) -> str:
    """COMPLETE when both the function and Zappa's API stack of that name are there.

    PARTIAL is what may be removed. Raises NotReady while somebody changes the stack, or
    when only the CloudFormation console can mend it: it may serve.
    """
    with aws.explained():
        stack = _stack_status(region, name)
        there = _configuration(region, name) is not None
    if stack is None or stack in BROKEN:
        return PARTIAL if there or stack else ABSENT
    if stack in UPDATABLE:
        return COMPLETE if there else PARTIAL
    raise NotReady(
        f"{region}: stack {name} is {stack}. Wait until it is done; if it stays so, see its "
        f"events in the CloudFormation console. Then run the command again."
    )


def version(region: str, name: str) -> int:
    """The number of the newest version published; 0 when there is none."""
    client = aws.client("lambda", region)
    with aws.explained():
        if _configuration(region, name) is None:
            return 0
        pages = client.get_paginator("list_versions_by_function").paginate(
            FunctionName=name
        )
        named = [found["Version"] for page in pages for found in page["Versions"]]
    return max((int(number) for number in named if number.isdigit()), default=0)


def remove(region: str, name: str) -> None:
    """Delete what a deployment that failed has left."""
    formation = aws.client("cloudformation", region)
    with aws.explained():
        if _configuration(region, name) is not None:
            aws.client("lambda", region).delete_function(FunctionName=name)
        if _stack_status(region, name) is not None:
            formation.delete_stack(StackName=name)
            formation.get_waiter("stack_delete_complete").wait(StackName=name)


def variables(region: str, name: str) -> dict[str, str] | None:
    """The environment variables of the function; None when it is absent."""
    with aws.explained():
        found = _configuration(region, name)
    return None if found is None else _variables(found)


def keep_variables(region: str, name: str, names: Collection[str]) -> None:
    """Drop all others: Zappa's update merges what a function has into what it shall have."""
    now = variables(region, name) or {}
    _configure(region, name, {k: v for k, v in now.items() if k in names}, now)


def add_variables(region: str, name: str, more: Mapping[str, str]) -> None:
    """Set these beside what a deployed function has; nothing happens to an absent one."""
    now = variables(region, name)
    if now is not None:
        _configure(region, name, {**now, **more}, now)


def settings(region: str, name: str) -> dict[str, Any]:
    """What restore() takes; nothing when the function is absent."""
    with aws.explained():
        found = _configuration(region, name) or {}
    kept = {key: found[key] for key in KEPT if key in found}
    if "VpcConfig" in kept:
        kept["VpcConfig"] = {key: kept["VpcConfig"].get(key, []) for key in IN_A_VPC}
    return kept


def restore(region: str, name: str, kept: Mapping[str, Any]) -> None:
    """Put variables, memory, timeout and network back."""
    if kept != settings(region, name):
        _update(region, name, {"Environment": {"Variables": {}}, **kept})


def _configure(
    region: str, name: str, wanted: Mapping[str, str], now: Mapping[str, str]
) -> None:
    if wanted != now:
        _update(region, name, {"Environment": {"Variables": dict(wanted)}})


def _update(region: str, name: str, change: Mapping[str, Any]) -> None:
    client = aws.client("lambda", region)
    with aws.explained():
        client.get_waiter("function_updated_v2").wait(FunctionName=name)
        client.update_function_configuration(FunctionName=name, **change)
        client.get_waiter("function_updated_v2").wait(FunctionName=name)


def _variables(configuration: Mapping[str, Any]) -> dict[str, str]:
    return dict(configuration.get("Environment", {}).get("Variables", {}))


def _configuration(region: str, name: str) -> Any:
    client = aws.client("lambda", region)
    try:
        return client.get_function_configuration(FunctionName=name)
    except client.exceptions.ResourceNotFoundException:
        return None


def _stack_status(region: str, name: str) -> str | None:
    describe = aws.client("cloudformation", region).describe_stacks
    found = aws.existing(describe, StackName=name)
    status = found["Stacks"][0]["StackStatus"] if found else "DELETE_COMPLETE"
    return None if status == "DELETE_COMPLETE" else str(status)
