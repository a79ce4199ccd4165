"""The runtime stack of one Region: what CloudFormation is asked to make, and what it made."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import WaiterError

from ops import aws
from ops.topology import SECONDARY, Topology

TEMPLATE = Path(__file__).with_name("runtime.yaml")
CHANGE_SET = "manage-py-stack"
POLL_SECONDS = 3.0
NO_CHANGES = ("didn't contain changes", "No updates are to be performed")
# The first creation failed and was undone, or only a plan was made: nothing is in it.
EMPTY = {"ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS"}
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
    """A change set that waits to be executed; without changes there is none."""

    stack: str
    creates: bool
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
    """One stage's stack, read from and applied to its Region."""

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

    def plan(self, cluster_arns: Mapping[str, str], *, in_vpc: bool, say: Say) -> Plan:
        """Make a change set. Raises StackError when CloudFormation refuses it."""
        creates = self._prepare(say)
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
        return Plan(self.name, creates, tuple(self._changes()))

    def discard(self, plan: Plan) -> None:
        """Forget the change set, and the empty stack that holds one for a creation."""
        with aws.explained():
            if plan.creates:
                self.client.delete_stack(StackName=self.name)
            elif plan.changes:
                self.client.delete_change_set(
                    StackName=self.name, ChangeSetName=CHANGE_SET
                )

    def apply(self, plan: Plan, say: Say) -> None:
        """Execute the change set and wait. Raises StackError with the first failure."""
        if not plan.changes:
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
        if self.status() is None:
            return False
        with aws.explained():
            self._empty(self._bucket())
            self._release_account_role(say)
            seen = {event["EventId"] for event in self._events()}
            self.client.delete_stack(StackName=self.name)
        if self._follow(seen, say) != "DELETE_COMPLETE":
            raise StackError(
                f"{self.region}: stack {self.name} is not deleted: {self._reason(seen)} Correct "
                f"that and run `manage.py stack delete --stage {self.stage}` again."
            )
        self._delete_logs()
        return True

    def _describe(self) -> dict[str, Any] | None:
        answer = aws.existing(self.client.describe_stacks, StackName=self.name)
        if answer is None:
            return None
        found = answer["Stacks"][0]
        return None if found["StackStatus"] == "DELETE_COMPLETE" else dict(found)

    def _prepare(self, say: Say) -> bool:
        """True when the stack is to be created; what a failed creation left is removed."""
        status = self.status()
        if status in EMPTY:
            say(f"{self.region}: removing {self.name}, {status} with nothing in it ...")
            with aws.explained():
                self.client.delete_stack(StackName=self.name)
            self._follow(set(), lambda _: None)
            return True
        if status is not None and not status.endswith("_COMPLETE"):
            raise StackError(
                f"{self.region}: stack {self.name} is {status}; wait until it is done, or see "
                f"its events in the CloudFormation console, and run the command again."
            )
        return status is None

    def _parameters(self, arns: Mapping[str, str], in_vpc: bool) -> dict[str, str]:
        return {
            **parameters(self.topology, self.stage, arns, in_vpc=in_vpc),
            "SecretRegion": self.topology.regions[SECONDARY],
            "SetsAccountRole": "yes" if self._may_set_account_role() else "no",
        }

    def _changes(self) -> Iterator[Change]:
        waiter = self.client.get_waiter("change_set_create_complete")
        names = {"StackName": self.name, "ChangeSetName": CHANGE_SET}
        try:
            waiter.wait(**names, WaiterConfig={"Delay": 2, "MaxAttempts": 60})
        except WaiterError as error:
            reason = str(error.last_response.get("StatusReason") or error)
            self.client.delete_change_set(**names)
            if any(text in reason for text in NO_CHANGES):
                return
            raise StackError(f"{self.region}: stack {self.name}: {reason}") from error
        with aws.explained():
            pages = self.client.get_paginator("describe_change_set").paginate(**names)
            for change in (entry for page in pages for entry in page["Changes"]):
                found = change["ResourceChange"]
                yield Change(
                    found["Action"],
                    found["LogicalResourceId"],
                    found["ResourceType"],
                    found.get("Replacement", "False") != "False",
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

    def _account_role(self) -> str:
        gateway = aws.client("apigateway", self.region)
        with aws.explained():
            return str(gateway.get_account().get("cloudwatchRoleArn") or "")

    @property
    def _own_account_role(self) -> str:
        return f":role/{self.function}-gateway-logs"

    def _may_set_account_role(self) -> bool:
        """Only when nobody else set API Gateway's one logging role of the Region."""
        role = self._account_role()
        return not role or role.endswith(self._own_account_role)

    def _release_account_role(self, say: Say) -> None:
        """CloudFormation leaves the account pointing at the role it deletes."""
        if not self._account_role().endswith(self._own_account_role):
            return
        gateway = aws.client("apigateway", self.region)
        gateway.update_account(
            patchOperations=[
                {"op": "replace", "path": "/cloudwatchRoleArn", "value": ""}
            ]
        )
        others = sorted(
            api["name"] for api in gateway.get_rest_apis(limit=500)["items"]
        )
        if others:
            say(
                f"{self.region}: API Gateway's logging role of this Region was this stack's. "
                f"Give the account another if these write logs: {', '.join(others)}."
            )

    def _delete_logs(self) -> None:
        """What came in after the stack's groups went has made them anew, for ever."""
        client = aws.client("logs", self.region)
        for name in (
            f"/aws/lambda/{self.function}",
            f"/aws/apigateway/{self.function}",
        ):
            with aws.explained(), suppress(client.exceptions.ResourceNotFoundException):
                client.delete_log_group(logGroupName=name)

    def _bucket(self) -> str | None:
        """By its resource: a stack whose deletion failed has no outputs to trust."""
        answer = aws.existing(
            self.client.describe_stack_resource,
            StackName=self.name, LogicalResourceId="Artifacts",
        )  # fmt: skip
        if answer is None:
            return None
        found = answer["StackResourceDetail"]
        gone = found["ResourceStatus"] == "DELETE_COMPLETE"
        return None if gone else found.get("PhysicalResourceId")

    def _empty(self, bucket: str | None) -> None:
        """A bucket that holds something is not deleted."""
        if bucket is None:
            return
        client = aws.client("s3", self.region)
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            keys = [{"Key": found["Key"]} for found in page.get("Contents", [])]
            if keys:
                client.delete_objects(Bucket=bucket, Delete={"Objects": keys})
