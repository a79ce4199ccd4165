"""The runtime stack of one Region: what CloudFormation is asked to make, and what it made."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import WaiterError

from ops import aws, ownership
from ops.clusters.inventory import account_of
from ops.ownership import CHANGE_SET, NEVER_SERVED, PLANNED, NotReady, Resource
from ops.topology import SECONDARY, Topology

TEMPLATE = Path(__file__).with_name("runtime.yaml")
POLL_SECONDS = 3.0
NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
VERBS = {"Add": "create", "Modify": "change", "Remove": "delete", "Import": "import"}
Say = Callable[[str], None]
Sleep = Callable[[float], None]


class StackError(Exception):
    """A stack that cannot be planned, applied or deleted; says where and what to do."""


@dataclass(frozen=True, slots=True)
class Change:
    """One resource that would be made, changed or deleted."""

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
    """A change set that waits to be executed, or none where nothing differs.

    What changes no resource, as an output, is not listed.
    """

    stack: str
    waits: bool
    changes: tuple[Change, ...]


def parameters(
    topology: Topology, stage: str, arns: Mapping[str, str], *, in_vpc: bool
) -> dict[str, str]:
    """What the template's role depends on."""
    return {
        "Prefix": topology.prefix,
        "Stage": stage,
        "ClusterArn": arns[stage],
        "PeerClusterArn": arns.get(topology.peer_of(stage), arns[stage]),
        "InVpc": "yes" if in_vpc else "no",
    }


class RuntimeStack:
    """One stage's stack, read from and applied to its Region.

    Everything raises NotReady when a stack of the name is not ours.
    """

    def __init__(
        self, topology: Topology, stage: str, *, sleep: Sleep = time.sleep
    ) -> None:
        self.topology, self.stage, self.sleep = topology, stage, sleep
        self.region, self.function = topology.function(stage)
        self.name = f"{self.function}-runtime"
        self.client = aws.client("cloudformation", self.region)

    def status(self) -> str | None:
        """CloudFormation's word for its state; None when there is none."""
        found = self._describe()
        return str(found["StackStatus"]) if found else None

    def outputs(self) -> dict[str, str] | None:
        """What it made, by output name; None unless it is complete."""
        found = self._describe()
        if found is None or found["StackStatus"] not in {
            "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE",
        }:  # fmt: skip
            return None
        return {
            item["OutputKey"]: item["OutputValue"] for item in found.get("Outputs", [])
        }

    def serves_vpc(self) -> bool:
        """Whether the role may join a VPC."""
        found = self._describe() or {}
        chosen = {
            item["ParameterKey"]: item["ParameterValue"]
            for item in found.get("Parameters", [])
        }
        return chosen.get("InVpc") == "yes"

    def contents(self) -> list[str]:
        """What a deletion takes with it, a line each; nothing when it is absent."""
        found = self._describe()
        if found is None:
            return []
        self._own_bucket(self._resources(found))
        return ownership.contents(self.region, found)

    def clear(self, say: Say) -> None:
        """Remove what a creation that failed has left; says first what goes."""
        found = self._describe()
        if found is None or found["StackStatus"] not in NEVER_SERVED - {PLANNED}:
            return
        say(f"{self.region}: {self.name} never served. Removing it:")
        for line in ownership.contents(self.region, found):
            say(line)
        self._remove(found, say)

    def plan(self, cluster_arns: Mapping[str, str], *, in_vpc: bool, say: Say) -> Plan:
        """Make a change set. Raises StackError when CloudFormation refuses it."""
        # S3 lets its owner make a bucket of us-east-1 again, and an adopted one would be
        # tagged as ours: another's is found before that.
        account = account_of(cluster_arns[self.stage])
        name = f"{self.topology.prefix}-{account}-{self.region}"
        ownership.bucket(self.topology, self.region, name)
        creates = self._creates(say)
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
                TemplateBody=TEMPLATE.read_text(),
                Parameters=[
                    {"ParameterKey": name, "ParameterValue": value}
                    for name, value in self._parameters(cluster_arns, in_vpc).items()
                ],
                Capabilities=["CAPABILITY_NAMED_IAM"],
                Tags=[
                    {"Key": key, "Value": value}
                    for key, value in self.topology.tags(self.stage).items()
                ],
            )
        changes = self._changes()
        return Plan(self.name, changes is not None, changes or ())

    def discard(self, plan: Plan) -> None:
        """Forget the change set, and the empty stack that holds one for a creation."""
        found = self._describe()
        if found is None:
            return
        with aws.explained():
            if found["StackStatus"] == PLANNED:
                self.client.delete_stack(StackName=found["StackId"])
            elif plan.waits:
                self.client.delete_change_set(
                    StackName=self.name, ChangeSetName=CHANGE_SET
                )

    def apply(self, plan: Plan, say: Say) -> None:
        """Execute the change set and wait. Raises StackError with the first failure."""
        if not plan.waits:
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
                f"that and run `manage.py stack deploy --stage {self.stage}` again."
            )

    def delete(self, say: Say) -> bool:
        """Delete it with everything in it; False when there was none."""
        found = self._describe()
        if found is None:
            return False
        listed = self._resources(found)
        with aws.explained():
            self._empty(self._own_bucket(listed))
        self._remove(found, say)
        self._delete_logs(listed)
        return True

    def _describe(self) -> dict[str, Any] | None:
        return ownership.stack(self.topology, self.region, self.name)

    def _resources(self, found: Mapping[str, Any] | None) -> tuple[Resource, ...]:
        return (
            ownership.resources(self.region, found["StackId"])
            if found is not None
            else ()
        )

    def _remove(self, found: Mapping[str, Any], say: Say) -> None:
        seen = {event["EventId"] for event in self._events()}
        with aws.explained():
            self.client.delete_stack(StackName=found["StackId"])
        if self._follow(seen, say) != "DELETE_COMPLETE":
            raise StackError(
                f"{self.region}: stack {self.name} is not deleted: {self._reason(seen)} Correct "
                f"that and run `manage.py stack delete --stage {self.stage}` again."
            )

    def _creates(self, say: Say) -> bool:
        """True when the stack is to be created; what another plan left is removed."""
        found = self._describe()
        if found is None:
            return True
        status = found["StackStatus"]
        if status == PLANNED:
            say(f"{self.region}: removing the plan of {self.name} that was left ...")
            self._remove(found, lambda _: None)
            return True
        if status in NEVER_SERVED:
            raise StackError(
                f"{self.region}: stack {self.name} is {status}, its creation failed. `manage.py "
                f"stack deploy --stage {self.stage}` removes it and creates it anew."
            )
        if not status.endswith("_COMPLETE"):
            raise StackError(
                f"{self.region}: stack {self.name} is {status}; wait until it is done, or see "
                f"its events in the CloudFormation console, and run the command again."
            )
        return False

    def _parameters(self, arns: Mapping[str, str], in_vpc: bool) -> dict[str, str]:
        return {
            **parameters(self.topology, self.stage, arns, in_vpc=in_vpc),
            "SecretRegion": self.topology.regions[SECONDARY],
        }

    def _changes(self) -> tuple[Change, ...] | None:
        """Those of the change set; None when nothing differs, and then it is gone."""
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
            found = [
                change["ResourceChange"] for page in pages for change in page["Changes"]
            ]
        return tuple(
            Change(
                change["Action"],
                change["LogicalResourceId"],
                change["ResourceType"],
                change.get("Replacement", "False") != "False",
            )
            for change in found
        )

    def _events(self) -> list[dict[str, Any]]:
        """The newest first; none when the stack is gone."""
        found = aws.existing(self.client.describe_stack_events, StackName=self.name)
        return list(found["StackEvents"]) if found else []

    def _follow(self, seen: set[str], say: Say) -> str:
        """Say what happens until nothing more does; returns the stack's last state."""
        told = set(seen)
        while True:
            for event in reversed(self._events()):
                if event["EventId"] not in told:
                    told.add(event["EventId"])
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

    def _delete_logs(self, listed: Iterable[Resource]) -> None:
        """What came in after the stack's groups went has made them anew, for ever.

        Made by Lambda or API Gateway they have no tags; where a function of the name is
        there again they are its own.
        """
        if self._function_is_there():
            return
        client = aws.client("logs", self.region)
        for name in [r.name for r in listed if r.kind == "AWS::Logs::LogGroup"]:
            with aws.explained():
                pages = client.get_paginator("describe_log_groups").paginate(
                    logGroupNamePrefix=name
                )
                for group in (g for page in pages for g in page["logGroups"]):
                    if group["logGroupName"] == name and not self._is_foreign(group):
                        client.delete_log_group(logGroupName=name)

    def _is_foreign(self, group: Mapping[str, Any]) -> bool:
        arn = group["arn"].removesuffix(":*")
        tags = aws.client("logs", self.region).list_tags_for_resource(resourceArn=arn)
        return bool(tags["tags"]) and not (
            self.topology.common_tags.items() <= tags["tags"].items()
        )

    def _function_is_there(self) -> bool:
        try:
            return (
                ownership.function(self.topology, self.region, self.function)
                is not None
            )
        except NotReady:
            return True

    def _own_bucket(self, listed: Iterable[Resource]) -> str | None:
        """The bucket that the stack lists, as long as its tags are ours too."""
        for found in listed:
            if found.logical == "Artifacts" and found.name and not found.deleted:
                there = ownership.bucket(self.topology, self.region, found.name)
                return found.name if there else None
        return None

    def _empty(self, bucket: str | None) -> None:
        """A bucket that holds something is not deleted."""
        if bucket is None:
            return
        client = aws.client("s3", self.region)
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            keys = [{"Key": found["Key"]} for found in page.get("Contents", [])]
            if keys:
                client.delete_objects(Bucket=bucket, Delete={"Objects": keys})
