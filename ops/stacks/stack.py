"""A CloudFormation stack of one role: planned, applied, followed and deleted.

A kind of stack is a template file and a class of its Parameters; nothing here knows what
the template makes. Every stack is ours by its tags, never by its name.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from botocore.exceptions import WaiterError

from ops import aws, ownership
from ops.ownership import CHANGE_SET, NEVER_SERVED, PLANNED, Resource
from ops.topology import Topology

POLL_SECONDS = 3.0
NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
VERBS = {"Add": "create", "Modify": "change", "Remove": "delete", "Import": "import"}
USABLE = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}
BUCKET, LOG_GROUP = "AWS::S3::Bucket", "AWS::Logs::LogGroup"
Say = Callable[[str], None]
Sleep = Callable[[float], None]


class StackError(Exception):
    """A stack that cannot be planned, applied or deleted; says where and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The parameters of a template: the field ``cluster_arn`` is its ``ClusterArn``.

    A subclass names its template, whose file name is the kind of the stack, and adds the
    fields that its template declares.
    """

    TEMPLATE: ClassVar[Path]

    prefix: str
    role: str

    def values(self) -> dict[str, str]:
        return {
            "".join(part.capitalize() for part in each.name.split("_")): _as_text(
                getattr(self, each.name)
            )
            for each in fields(self)
        }


@dataclass(frozen=True, slots=True)
class Change:
    """One resource that a plan creates, changes or deletes."""

    action: str
    resource: str
    kind: str
    replaced: bool

    def __str__(self) -> str:
        how = ", replacing it" if self.replaced else ""
        return (
            f"{VERBS.get(self.action, self.action)} {self.resource} ({self.kind}){how}"
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """A change set that is ready to execute, or none when nothing differs.

    A change that touches no resource, such as of an output, is not listed.
    """

    stack: str
    is_ready: bool
    changes: tuple[Change, ...]


class Stack:
    """The stack of one kind and role, in the Region of that role.

    Every method raises NotReady when a stack of that name is not ours, and AwsError.
    """

    def __init__(
        self,
        topology: Topology,
        role: str,
        kind: type[Parameters],
        *,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.topology, self.role, self.sleep = topology, role, sleep
        self.region, self.function = topology.function(role)
        self.template = kind.TEMPLATE
        self.name = f"{self.function}-{self.template.stem}"
        self.client = aws.client("cloudformation", self.region)

    def status(self) -> str | None:
        """The state as CloudFormation calls it; None when there is no stack."""
        existing = self._describe()
        return str(existing["StackStatus"]) if existing else None

    def outputs(self) -> dict[str, str] | None:
        """The outputs by name; None unless the stack is complete."""
        existing = self._describe()
        if existing is None or existing["StackStatus"] not in USABLE:
            return None
        return {
            item["OutputKey"]: item["OutputValue"]
            for item in existing.get("Outputs", [])
        }

    def parameters(self) -> dict[str, str]:
        """The parameters that the stack was last applied with; empty when there is none."""
        existing = self._describe() or {}
        return {
            item["ParameterKey"]: item["ParameterValue"]
            for item in existing.get("Parameters", [])
        }

    def contents(self) -> list[str]:
        """What delete() removes, one line for each resource; none when it is absent."""
        existing = self._describe()
        if existing is None:
            return []
        self._our_buckets(self._resources(existing))
        return ownership.contents(self.region, existing)

    def clear(self, say: Say) -> None:
        """Remove what a failed creation has left; says first what that is."""
        existing = self._describe()
        if existing is None or existing["StackStatus"] not in NEVER_SERVED - {PLANNED}:
            return
        say(f"{self.region}: {self.name} never served. Removing it:")
        for line in ownership.contents(self.region, existing):
            say(line)
        self._remove(existing, say)

    def plan(self, parameters: Parameters, say: Say) -> Plan:
        """Make a change set. Raises StackError when CloudFormation refuses it."""
        creates = self._creates(say)
        tags = self.topology.tags(self.role)
        with aws.explained():
            # One that an interrupted run has left; its name would be taken.
            if not creates:
                self.client.delete_change_set(
                    StackName=self.name, ChangeSetName=CHANGE_SET
                )
            self.client.create_change_set(
                StackName=self.name,
                ChangeSetName=CHANGE_SET,
                ChangeSetType="CREATE" if creates else "UPDATE",
                TemplateBody=self.template.read_text(),
                Parameters=[
                    {"ParameterKey": name, "ParameterValue": value}
                    for name, value in parameters.values().items()
                ],
                Capabilities=["CAPABILITY_NAMED_IAM"],
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            )
        changes = self._changes()
        return Plan(self.name, changes is not None, changes or ())

    def discard(self, plan: Plan) -> None:
        """Delete the change set, and the empty stack that holds one for a creation."""
        existing = self._describe()
        if existing is None:
            return
        with aws.explained():
            if existing["StackStatus"] == PLANNED:
                self.client.delete_stack(StackName=existing["StackId"])
            elif plan.is_ready:
                self.client.delete_change_set(
                    StackName=self.name, ChangeSetName=CHANGE_SET
                )

    def apply(self, plan: Plan, say: Say) -> None:
        """Execute the change set and wait. Raises StackError with the first failure."""
        if not plan.is_ready:
            return
        with aws.explained():
            seen = {event["EventId"] for event in self._events()}
            self.client.execute_change_set(
                StackName=self.name, ChangeSetName=CHANGE_SET
            )
        status = self._follow(seen, say)
        if status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE"}:
            raise StackError(
                f"{self.region}: stack {self.name} is {status}: {self._reason(seen)} Correct "
                f"that and run `manage.py stack deploy --role {self.role}` again."
            )

    def delete(self, say: Say) -> bool:
        """Delete the stack with everything in it; False when there was none."""
        existing = self._describe()
        if existing is None:
            return False
        listed = self._resources(existing)
        with aws.explained():
            for bucket in self._our_buckets(listed):
                self._empty(bucket)
        self._remove(existing, say)
        if not self.logs_are_in_use():
            self._delete_logs(listed)
        return True

    def logs_are_in_use(self) -> bool:
        """Whether something outside the stack writes to its log groups after a deletion."""
        return False

    def _describe(self) -> dict[str, Any] | None:
        return ownership.stack(self.topology, self.region, self.name)

    def _resources(self, existing: Mapping[str, Any]) -> tuple[Resource, ...]:
        return ownership.resources(self.region, existing["StackId"])

    def _remove(self, existing: Mapping[str, Any], say: Say) -> None:
        seen = {event["EventId"] for event in self._events()}
        with aws.explained():
            self.client.delete_stack(StackName=existing["StackId"])
        if self._follow(seen, say) != "DELETE_COMPLETE":
            raise StackError(
                f"{self.region}: stack {self.name} is not deleted: {self._reason(seen)} Correct "
                f"that and run `manage.py stack delete --role {self.role}` again."
            )

    def _creates(self, say: Say) -> bool:
        """True when the stack does not exist yet; removes what an earlier plan has left."""
        existing = self._describe()
        if existing is None:
            return True
        status = existing["StackStatus"]
        if status == PLANNED:
            say(f"{self.region}: removing an earlier plan of {self.name} ...")
            self._remove(existing, lambda _: None)
            return True
        if status in NEVER_SERVED:
            raise StackError(
                f"{self.region}: stack {self.name} is {status}, its creation failed. `manage.py "
                f"stack deploy --role {self.role}` removes it and creates it anew."
            )
        if not status.endswith("_COMPLETE"):
            raise StackError(
                f"{self.region}: stack {self.name} is {status}; wait until it is done, or see "
                f"its events in the CloudFormation console, and run the command again."
            )
        return False

    def _changes(self) -> tuple[Change, ...] | None:
        """The changes of the change set; None when nothing differs, and then it is gone."""
        waiter = self.client.get_waiter("change_set_create_complete")
        names = {"StackName": self.name, "ChangeSetName": CHANGE_SET}
        try:
            waiter.wait(**names, WaiterConfig={"Delay": 2, "MaxAttempts": 60})
        except WaiterError as error:
            reason = str(error.last_response.get("StatusReason") or error)
            self.client.delete_change_set(**names)
            if any(text in reason for text in NO_CHANGES):
                return None
            raise StackError(f"{self.region}: stack {self.name}: {reason}") from error
        with aws.explained():
            pages = self.client.get_paginator("describe_change_set").paginate(**names)
            listed = [each["ResourceChange"] for p in pages for each in p["Changes"]]
        return tuple(
            Change(
                change["Action"],
                change["LogicalResourceId"],
                change["ResourceType"],
                change.get("Replacement", "False") != "False",
            )
            for change in listed
        )

    def _events(self) -> list[dict[str, Any]]:
        """The newest first; none when the stack is gone."""
        found = aws.existing(self.client.describe_stack_events, StackName=self.name)
        return list(found["StackEvents"]) if found else []

    def _follow(self, seen: set[str], say: Say) -> str:
        """Say each new event until the stack stops changing; returns its last state."""
        reported = set(seen)
        while True:
            for event in reversed(self._events()):
                if event["EventId"] not in reported:
                    reported.add(event["EventId"])
                    say(
                        f"{self.region}: {event['ResourceStatus']} {event['LogicalResourceId']}"
                    )
            status = self.status() or "DELETE_COMPLETE"
            if not status.endswith("_IN_PROGRESS"):
                return status
            self.sleep(POLL_SECONDS)

    def _reason(self, seen: set[str]) -> str:
        for event in reversed(self._events()):
            if event["EventId"] not in seen and event["ResourceStatus"].endswith(
                "FAILED"
            ):
                return f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
        return "its events in the CloudFormation console say why."

    def _our_buckets(self, listed: Iterable[Resource]) -> list[str]:
        """The buckets of the stack that exist; NotReady when the tags of one are not ours."""
        names = [
            r.name for r in listed if r.kind == BUCKET and r.name and not r.deleted
        ]
        return [n for n in names if ownership.bucket(self.topology, self.region, n)]

    def _empty(self, bucket: str) -> None:
        """CloudFormation does not delete a bucket that holds something."""
        client = aws.client("s3", self.region)
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            keys = [{"Key": each["Key"]} for each in page.get("Contents", [])]
            if keys:
                client.delete_objects(Bucket=bucket, Delete={"Objects": keys})

    def _delete_logs(self, listed: Iterable[Resource]) -> None:
        """Lines that arrived after the deletion have made the log groups again.

        Such a group, made by Lambda or API Gateway, has no tags and never expires.
        """
        client = aws.client("logs", self.region)
        for name in [each.name for each in listed if each.kind == LOG_GROUP]:
            with aws.explained():
                pages = client.get_paginator("describe_log_groups").paginate(
                    logGroupNamePrefix=name
                )
                for group in (each for page in pages for each in page["logGroups"]):
                    if group["logGroupName"] == name and not self._is_foreign(group):
                        client.delete_log_group(logGroupName=name)

    def _is_foreign(self, group: Mapping[str, Any]) -> bool:
        arn = group["arn"].removesuffix(":*")
        found = aws.client("logs", self.region).list_tags_for_resource(resourceArn=arn)
        tags = found["tags"]
        return bool(tags) and not self.topology.common_tags.items() <= tags.items()


def _as_text(value: str | bool) -> str:
    """CloudFormation's parameters are text; our templates write yes and no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value
