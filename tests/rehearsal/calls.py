"""Every action that the commands asked AWS for, beside what the printed policies allow."""

from typing import Any

from moto.core.responses import BaseResponse
from moto.s3.responses import S3Response

from ops.policies import PURPOSES, Scope
from ops.topology import Topology

# IAM's name of the service, or of the action, where it is another than moto's.
SERVICES = {
    "apigatewayv2": "apigateway", "awslambda": "lambda", "resourcegroupstaggingapi": "tag",
}  # fmt: skip
S3_ACTIONS = {
    "HeadBucket": "ListBucket", "ListObjects": "ListBucket", "ListObjectsV2": "ListBucket",
    "DeleteObjects": "DeleteObject", "HeadObject": "GetObject",
}  # fmt: skip
# Making and deleting the boundary: an administrator's, never whoever deploys.
ADMINISTRATORS = {
    "iam:CreatePolicy", "iam:DeletePolicy", "iam:DeletePolicyVersion",
    "iam:ListPolicyVersions",
}  # fmt: skip


def record() -> set[str]:
    """The actions as they come; CloudFormation's own are not among them."""
    seen: set[str] = set()
    call, authorize = (
        BaseResponse.call_action,
        S3Response._authenticate_and_authorize_s3_action,
    )

    def call_action(self: Any) -> Any:
        service = SERVICES.get(self.service_name, self.service_name)
        # API Gateway's actions are HTTP's methods.
        action = self.method if service == "apigateway" else self._get_action()
        seen.add(f"{service}:{action}")
        return call(self)

    def authorize_s3(self: Any, *args: Any, **named: Any) -> Any:
        action = self.data.get("Action", "")
        seen.add(f"s3:{S3_ACTIONS.get(action, action)}")
        return authorize(self, *args, **named)

    BaseResponse.call_action = call_action  # type: ignore[method-assign]
    S3Response._authenticate_and_authorize_s3_action = authorize_s3  # type: ignore[method-assign]
    return seen


def not_allowed(seen: set[str], topology: Topology, account: str) -> set[str]:
    """What provisioning and deploying do without being allowed to."""
    scope = Scope(topology, account, {})
    allowed = {
        action
        for purpose in ("provision", "deploy")
        for statement in PURPOSES[purpose](scope)["Statement"]
        for action in statement["Action"]
    }
    return seen - allowed - ADMINISTRATORS
