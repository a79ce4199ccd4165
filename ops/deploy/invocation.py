"""How API Gateway invokes the function: by a permission on the function, without an IAM role.

Zappa uses one role for the function and for the integrations of its API, and names it there
whenever it writes its stack; ours is for Lambda alone.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops import aws
from ops.arn import parse_arn

STATEMENT = "api-gateway"  # our statement in the policy of the function
SCHEDULE_STATEMENT = "maintenance"
INVOKED = re.compile(
    r"/functions/(?P<arn>arn:[^/]*:function:(?P<name>[\w-]+)(?::(?P<qualifier>[\w$-]+))?)"
    r"/invocations$"
)
# The fields of an integration that PutIntegration takes, by their names in the response.
KEPT = {
    "type": "type", "httpMethod": "integrationHttpMethod", "uri": "uri",
    "connectionType": "connectionType", "connectionId": "connectionId",
    "requestParameters": "requestParameters", "requestTemplates": "requestTemplates",
    "passthroughBehavior": "passthroughBehavior", "contentHandling": "contentHandling",
    "timeoutInMillis": "timeoutInMillis", "cacheNamespace": "cacheNamespace",
    "cacheKeyParameters": "cacheKeyParameters", "tlsConfig": "tlsConfig",
    "responseTransferMode": "responseTransferMode",
    "integrationTarget": "integrationTarget",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Integration:
    """One method of an API that invokes our function."""

    resource: str
    method: str
    arn: str  # of the function, or of its alias or version
    qualifier: str | None
    found: dict[str, Any]

    @property
    def has_credentials(self) -> bool:
        return bool(self.found.get("credentials"))

    def without_credentials(self) -> dict[str, Any]:
        """Arguments for PutIntegration, which replaces the whole integration."""
        return {
            "resourceId": self.resource,
            "httpMethod": self.method,
            **{
                KEPT[name]: value
                for name, value in self.found.items()
                if name in KEPT and value is not None
            },
        }


def integrations(gateway: Any, api: str, function: str) -> list[Integration]:
    """The integrations of the API that invoke the function of that name."""
    pages = gateway.get_paginator("get_resources").paginate(
        restApiId=api, embed=["methods"]
    )
    return [
        each
        for page in pages
        for resource in page["items"]
        for each in _find_in(resource, function)
    ]


def _find_in(resource: dict[str, Any], function: str) -> Iterator[Integration]:
    for method, found in resource.get("resourceMethods", {}).items():
        integration = found.get("methodIntegration") or {}
        invoked = INVOKED.search(integration.get("uri") or "")
        if invoked and invoked["name"] == function:
            yield Integration(
                resource["id"],
                method,
                invoked["arn"],
                invoked["qualifier"],
                integration,
            )


def source_arn(function_arn: str, api: str, stage: str) -> str:
    """Every request of one stage of one API, and no other."""
    function = parse_arn(function_arn)
    return (
        f"arn:{function.partition}:execute-api:{function.region}:{function.account}:"
        f"{api}/{stage}/*"
    )


def permit(region: str, invoked: Integration, api: str, stage: str) -> None:
    """Let that stage, and no other, invoke the function.

    The policy is deleted with the function, or with the alias that it belongs to.
    """
    named = {"FunctionName": _unqualified(invoked)}
    if invoked.qualifier:
        named["Qualifier"] = invoked.qualifier
    source = source_arn(invoked.arn, api, stage)
    _permit(region, named, STATEMENT, "apigateway.amazonaws.com", source)


def permit_schedule(region: str, function: str, rule: str) -> None:
    """Let that rule of EventBridge, and no other, invoke the function of that name."""
    named = {"FunctionName": function}
    _permit(region, named, SCHEDULE_STATEMENT, "events.amazonaws.com", rule)


def _permit(
    region: str, named: dict[str, str], sid: str, principal: str, source: str
) -> None:
    client = aws.client("lambda", region)
    now = _statement(client, named, sid)
    if now is not None and _sources(now) == {source}:
        return
    if now is not None:
        client.remove_permission(**named, StatementId=sid)
    client.add_permission(
        **named,
        StatementId=sid,
        Action="lambda:InvokeFunction",
        Principal=principal,
        SourceArn=source,
    )


def _unqualified(invoked: Integration) -> str:
    return invoked.arn.removesuffix(f":{invoked.qualifier}")


def _statement(client: Any, named: dict[str, str], sid: str) -> dict[str, Any] | None:
    try:
        policy = json.loads(client.get_policy(**named)["Policy"])
    except ClientError as error:
        if aws.error_code(error) == "ResourceNotFoundException":
            return None
        raise
    found: list[dict[str, Any]] = policy["Statement"]
    return next((each for each in found if each.get("Sid") == sid), None)


def _sources(statement: dict[str, Any]) -> set[str]:
    """Lambda writes AWS:SourceArn; condition keys are case-insensitive."""
    conditions = statement.get("Condition", {}).values()
    return {
        value
        for pairs in conditions
        for key, value in pairs.items()
        if key.lower() == "aws:sourcearn"
    }
