"""Ownership of a resource: decided by its tags, never by its name.

Code that changes or removes something in the account reads it here first, so that nothing
of another owner is touched because it has the name that ours would have.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops import aws
from ops.topology import Topology

# The change set of `manage.py stack`; a stack that is only planned has no tags of its own.
CHANGE_SET = "manage-py-stack"
PLANNED = "REVIEW_IN_PROGRESS"
# CloudFormation's states of a stack whose creation never completed: it never served.
NEVER_SERVED = {PLANNED, "CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"}
SHOWN_TAGS = 6


class NotReady(Exception):
    """Something is missing, incomplete or not ours; says what to do about it."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource that a stack lists."""

    logical: str
    kind: str  # CloudFormation's type
    name: str
    deleted: bool


def require_ours(
    topology: Topology, region: str, what: str, tags: Mapping[str, str]
) -> None:
    """Raise NotReady unless the tags Application and ManagedBy are this deployment's."""
    if topology.common_tags.items() <= tags.items():
        return
    raise NotReady(
        f"{region}: {what} is not ours: {describe(tags)}. Nothing was changed. Choose another "
        f"CLUSTER_NAME_PREFIX than {topology.prefix}, or have its owner remove it."
    )


def describe(tags: Mapping[str, str]) -> str:
    """The owner, as far as the tags say."""
    if not tags:
        return "it has no tags"
    shown = [f"{key}={value}" for key, value in sorted(tags.items())]
    more = ", …" if len(shown) > SHOWN_TAGS else ""
    return f"it is tagged {', '.join(shown[:SHOWN_TAGS])}{more}"


def stack(topology: Topology, region: str, name: str) -> dict[str, Any] | None:
    """Our stack as CloudFormation describes it; None when there is none.

    Raises NotReady when it is not ours, and aws.AwsError.
    """
    client = aws.client("cloudformation", region)
    response = aws.existing(client.describe_stacks, StackName=name)
    if response is None or response["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE":
        return None
    found: dict[str, Any] = response["Stacks"][0]
    tags = _named(found.get("Tags", []))
    if found["StackStatus"] == PLANNED and not tags:
        planned = aws.existing(
            client.describe_change_set, StackName=name, ChangeSetName=CHANGE_SET
        )
        tags = _named(planned.get("Tags", [])) if planned else {}
    require_ours(topology, region, f"the stack {name} ({found['StackStatus']})", tags)
    return found


def resources(region: str, stack_id: str) -> tuple[Resource, ...]:
    """The resources of the stack, including deleted ones. Raises aws.AwsError."""
    pages = aws.client("cloudformation", region).get_paginator("list_stack_resources")
    with aws.explained():
        return tuple(
            Resource(
                found["LogicalResourceId"],
                found["ResourceType"],
                found.get("PhysicalResourceId", ""),
                found["ResourceStatus"] == "DELETE_COMPLETE",
            )
            for page in pages.paginate(StackName=stack_id)
            for found in page["StackResourceSummaries"]
        )


def contents(region: str, found: Mapping[str, Any]) -> list[str]:
    """A stack and what is deleted with it, one line each."""
    return [
        f"{region}: stack {found['StackName']} ({found['StackStatus']})",
        *(
            f"{region}:   {resource.kind} {resource.name}"
            for resource in resources(region, found["StackId"])
            if resource.name and not resource.deleted
        ),
    ]


def function(topology: Topology, region: str, name: str) -> dict[str, Any] | None:
    """The configuration of our function; None when there is none.

    Raises NotReady when it is not ours, and aws.AwsError.
    """
    client = aws.client("lambda", region)
    with aws.explained():
        try:
            found: dict[str, Any] = client.get_function_configuration(FunctionName=name)
        except client.exceptions.ResourceNotFoundException:
            return None
        tags = client.list_tags(Resource=found["FunctionArn"])["Tags"]
    require_ours(topology, region, f"the function {name}", tags)
    return found


def bucket(topology: Topology, region: str, name: str) -> bool:
    """Whether our bucket exists: anybody may take the name of a deleted bucket.

    Raises NotReady when it is not ours, and aws.AwsError.
    """
    with aws.explained():
        try:
            found = aws.client("s3", region).get_bucket_tagging(Bucket=name)
        except ClientError as error:
            if aws.error_code(error) == "NoSuchBucket":
                return False
            if aws.error_code(error) != "NoSuchTagSet":
                raise
            found = {"TagSet": []}
    require_ours(topology, region, f"the bucket {name}", _named(found["TagSet"]))
    return True


def _named(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}
