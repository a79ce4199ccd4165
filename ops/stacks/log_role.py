"""API Gateway's logging role: one for every API of an account in a Region.

Not part of a stack, whose deletion would also stop the logs of other teams' APIs. It is set
where none is set, and kept while any API of the Region writes logs.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from ops import aws, ownership
from ops.arn import parse_arn
from ops.ownership import NotReady
from ops.topology import Topology

PUSH_LOGS = "service-role/AmazonAPIGatewayPushToCloudWatchLogs"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "apigateway.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
# A new role is known everywhere after some seconds; API Gateway refuses it until then.
ATTEMPTS, PAUSE_SECONDS = 6, 10.0
NO_LOGS = {None, "", "OFF"}
Say = Callable[[str], None]
Sleep = Callable[[float], None]


class LogRole:
    """The logging role of one Region.

    Methods raise NotReady when the role of that name is not ours, and AwsError.
    """

    def __init__(
        self, topology: Topology, role: str, *, sleep: Sleep = time.sleep
    ) -> None:
        self.topology, self.role, self.sleep = topology, role, sleep
        self.region, function = topology.function(role)
        self.name = f"{function}-gateway-logs"
        self.gateway = aws.client("apigateway", self.region)
        self.iam = aws.client("iam", self.region)

    def require(self) -> None:
        """Raise NotReady when no API can log: the stages of a deployment log."""
        if not self._chosen():
            raise NotReady(
                f"{self.region}: API Gateway has no logging role, and refuses stages that log. "
                f"Run `manage.py stack deploy --role {self.role}`."
            )

    def pending(self) -> str | None:
        """What apply() would do; None when a role is set and, as far as we see, exists."""
        if self._is_set():
            return None
        verb = "set" if self._role() else "create and set"
        return f"{verb} API Gateway's logging role {self.name}"

    def apply(self, say: Say) -> None:
        """Set the role where none is set."""
        if self._is_set():
            return
        arn = self._role() or self._create()
        with aws.explained():
            self.iam.attach_role_policy(
                RoleName=self.name, PolicyArn=_aws_policy(arn, PUSH_LOGS)
            )
            self._choose(arn)
        say(f"{self.region}: API Gateway's logging role is {self.name}")

    def delete(self, say: Say) -> None:
        """Remove our role, unless an API of the Region writes its logs with it."""
        chosen = self._chosen()
        if self._is_foreign():
            return
        if self._is_named(chosen):
            if logging := list(self._logging()):
                say(
                    f"{self.region}: API Gateway's logging role {self.name} remains, because these "
                    f"write logs with it: {', '.join(logging)}. When they no longer do, or use "
                    f"another, run `manage.py stack delete --role {self.role}` again."
                )
                return
            with aws.explained():
                self._choose("")
        if arn := self._role():
            with aws.explained():
                self._delete(arn)
            say(f"{self.region}: {self.name} is deleted")

    def _chosen(self) -> str:
        """The ARN of the logging role of the Region, whoever owns it; empty if none is set."""
        with aws.explained():
            return str(self.gateway.get_account().get("cloudwatchRoleArn") or "")

    def _is_set(self) -> bool:
        """Whether a role is set; one of our name must also exist, others we may not read."""
        chosen = self._chosen()
        return bool(chosen) and not (self._is_named(chosen) and self._find() is None)

    def _is_named(self, arn: str) -> bool:
        return arn.endswith(f":role/{self.name}")

    def _choose(self, arn: str) -> None:
        operation = {"op": "replace", "path": "/cloudwatchRoleArn", "value": arn}
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self.gateway.update_account(patchOperations=[operation])
            except ClientError as error:
                new = aws.error_code(error) == "BadRequestException"
                if not new or attempt == ATTEMPTS:
                    raise
                self.sleep(PAUSE_SECONDS)
            else:
                return

    def _role(self) -> str | None:
        """The ARN of our role; None when there is none."""
        found = self._find()
        if found is None:
            return None
        ownership.require_ours(
            self.topology, self.region, f"the role {self.name}", _tags(found)
        )
        return str(found["Arn"])

    def _is_foreign(self) -> bool:
        found = self._find()
        ours = self.topology.common_tags.items()
        return found is not None and not ours <= _tags(found).items()

    def _find(self) -> Mapping[str, Any] | None:
        with aws.explained():
            try:
                found: Mapping[str, Any] = self.iam.get_role(RoleName=self.name)["Role"]
            except self.iam.exceptions.NoSuchEntityException:
                return None
            return found

    def _create(self) -> str:
        with aws.explained():
            made = self.iam.create_role(
                RoleName=self.name,
                AssumeRolePolicyDocument=json.dumps(TRUST),
                Description="Lets API Gateway write the logs of this Region's APIs",
                Tags=[
                    {"Key": key, "Value": value}
                    for key, value in self.topology.tags(self.role).items()
                ],
            )
            return str(made["Role"]["Arn"])

    def _delete(self, arn: str) -> None:
        attached = self.iam.list_attached_role_policies(RoleName=self.name)
        for policy in attached["AttachedPolicies"]:
            if policy["PolicyArn"] == _aws_policy(arn, PUSH_LOGS):
                self.iam.detach_role_policy(
                    RoleName=self.name, PolicyArn=policy["PolicyArn"]
                )
        self.iam.delete_role(RoleName=self.name)

    def _logging(self) -> Iterator[str]:
        """The APIs of the Region with a stage that logs, whoever owns them."""
        with aws.explained():
            for page in self.gateway.get_paginator("get_rest_apis").paginate():
                for api in page["items"]:
                    stages = self.gateway.get_stages(restApiId=api["id"])["item"]
                    if any(map(_logs, stages)):
                        yield f"{api['name']} ({api['id']})"
            # Of the newer kinds, an HTTP API writes its logs without the role.
            newer = aws.client("apigatewayv2", self.region)
            for page in newer.get_paginator("get_apis").paginate():
                for api in page["Items"]:
                    if api["ProtocolType"] != "WEBSOCKET":
                        continue
                    found = newer.get_stages(ApiId=api["ApiId"])["Items"]
                    if any(map(_socket_logs, found)):
                        yield f"{api['Name']} ({api['ApiId']})"


def _logs(stage: Mapping[str, Any]) -> bool:
    """Whether a stage of a REST API writes access logs or execution logs."""
    settings = stage.get("methodSettings", {}).values()
    return bool((stage.get("accessLogSettings") or {}).get("destinationArn")) or any(
        each.get("loggingLevel") not in NO_LOGS for each in settings
    )


def _socket_logs(stage: Mapping[str, Any]) -> bool:
    routes = [stage.get("DefaultRouteSettings") or {}]
    routes += (stage.get("RouteSettings") or {}).values()
    return bool((stage.get("AccessLogSettings") or {}).get("DestinationArn")) or any(
        each.get("LoggingLevel") not in NO_LOGS for each in routes
    )


def _tags(role: Mapping[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in role.get("Tags", [])}


def _aws_policy(role: str, name: str) -> str:
    """The ARN of a policy managed by AWS, in the partition of the role."""
    return f"arn:{parse_arn(role).partition}:iam::aws:policy/{name}"
