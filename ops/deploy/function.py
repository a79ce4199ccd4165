"""The function that Zappa makes: whether it is whole, and what Zappa leaves on it."""

from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from ops import aws

ABSENT, PARTIAL, COMPLETE = "absent", "partial", "complete"
# CloudFormation's states in which Zappa can update its API stack.
UPDATABLE = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}


def state(region: str, name: str) -> str:
    """COMPLETE when both the function and Zappa's API stack of that name are there."""
    with aws.explained():
        stack = _stack_status(region, name)
        if _configuration(region, name) is None:
            return ABSENT if stack is None else PARTIAL
    return COMPLETE if stack in UPDATABLE else PARTIAL


def version(region: str, name: str) -> int:
    """The number of the newest version published; 0 when there is none."""
    client = aws.client("lambda", region)
    if _configuration(region, name) is None:
        return 0
    with aws.explained():
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


def variables(region: str, name: str) -> dict[str, str]:
    """The environment variables of the function; none when it is absent."""
    with aws.explained():
        return _variables(_configuration(region, name))


def set_variables(region: str, name: str, wanted: Mapping[str, str]) -> None:
    """These and no others, which Zappa's update would keep."""
    _change_variables(region, name, lambda _: dict(wanted))


def add_variables(region: str, name: str, more: Mapping[str, str]) -> None:
    """Set these beside what a deployed function has; nothing happens to an absent one."""
    if state(region, name) == COMPLETE:
        _change_variables(region, name, lambda now: {**now, **more})


def _change_variables(
    region: str, name: str, change: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    client = aws.client("lambda", region)
    with aws.explained():
        client.get_waiter("function_updated_v2").wait(FunctionName=name)
        now = _variables(_configuration(region, name))
        if (wanted := change(now)) != now:
            client.update_function_configuration(
                FunctionName=name, Environment={"Variables": wanted}
            )
            client.get_waiter("function_updated_v2").wait(FunctionName=name)


def _variables(configuration: Any) -> dict[str, str]:
    return dict((configuration or {}).get("Environment", {}).get("Variables", {}))


def _configuration(region: str, name: str) -> Any:
    client = aws.client("lambda", region)
    try:
        return client.get_function_configuration(FunctionName=name)
    except client.exceptions.ResourceNotFoundException:
        return None


def _stack_status(region: str, name: str) -> str | None:
    client = aws.client("cloudformation", region)
    try:
        found = client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return None if found == "DELETE_COMPLETE" else str(found)
