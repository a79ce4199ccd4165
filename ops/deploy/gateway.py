"""The part of an API that Zappa leaves out: the public stage, limits, logs, errors as
problems, and who may invoke the function."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from config.api.problem_types import PROBLEM_TYPES
from ops import aws, ownership
from ops.deploy import invocation
from ops.deploy.invocation import Integration
from ops.ownership import NotReady
from ops.topology import Topology

RATE, BURST = 1000, 2000  # requests a second, and above that for a moment
CLOSED = 0  # requests a second: API Gateway refuses every one itself, with 429
# No path (ids are in it), query, body, address or authorization: what, when, how it went.
ACCESS_LOG = {
    "requestId": "$context.requestId",
    "extendedRequestId": "$context.extendedRequestId",
    "xrayTraceId": "$context.xrayTraceId",
    "time": "$context.requestTimeEpoch",
    "stage": "$context.stage",
    "method": "$context.httpMethod",
    "resource": "$context.resourcePath",
    "status": "$context.status",
    "bytes": "$context.responseLength",
    "latencyMs": "$context.responseLatency",
    "integrationMs": "$context.integration.latency",
    "integrationStatus": "$context.integration.status",
    "error": "$context.error.responseType",
}
# The problem types of the responses that API Gateway sends itself: developer guide,
# "Gateway response types".
ERRORS = {
    "BAD_REQUEST_BODY": "malformed",
    "BAD_REQUEST_PARAMETERS": "malformed",
    "MISSING_AUTHENTICATION_TOKEN": "not_found",
    "REQUEST_TOO_LARGE": "too_large",
    "THROTTLED": "rate_limited",
    "QUOTA_EXCEEDED": "rate_limited",
    "INTEGRATION_FAILURE": "unavailable",
    "INTEGRATION_TIMEOUT": "timeout",
    "DEFAULT_4XX": "refused",
    "DEFAULT_5XX": "unavailable",
}
# They stand for every response that is not named, each with its own status.
DEFAULTS = {"DEFAULT_4XX", "DEFAULT_5XX"}
OUTCOME_UNKNOWN = {"INTEGRATION_FAILURE", "INTEGRATION_TIMEOUT", "DEFAULT_5XX"}
UNKNOWN_DETAIL = "The API did not respond; the outcome of the request is unknown."
REFUSED_DETAIL = "API Gateway refused the request; it did not reach the API."
RETRIED = {"THROTTLED", "INTEGRATION_FAILURE", "INTEGRATION_TIMEOUT", "DEFAULT_5XX"}


@dataclass(frozen=True, slots=True)
class StageOptions:
    """How the stages of one API are to be set.

    Zappa makes its own stage beside the public one and cannot do without it. What the
    operator attaches to the public stage (a firewall, a usage plan, a mapping) would not
    apply there, and its limits would be additional: only the public stage serves.
    """

    function: str  # the name of the function that the API invokes
    stages: tuple[str, ...]
    public_stage: str
    access_logs: str  # the log group's ARN
    tags: Mapping[str, str]
    cors_origins: Sequence[str]


class Gateway:
    """One REST API. Every method may be repeated; only differences are changed."""

    def __init__(self, region: str, api_id: str) -> None:
        self.region, self.api = region, api_id
        self.client = aws.client("apigateway", region)

    def harden(self, deployed_stage: str, options: StageOptions) -> None:
        """Give every stage the deployment that Zappa has just made for ``deployed_stage``."""
        with aws.explained():
            invoked = self._integrations(options.function)
            for each in {each.arn: each for each in invoked}.values():
                invocation.permit(self.region, each, self.api, options.public_stage)
            changed = self._put_errors(options.cors_origins)
            changed = self._remove_credentials(invoked) or changed
            if changed:
                # Both change with a deployment, not before: the public stage goes on.
                deployment = self.client.create_deployment(restApiId=self.api)["id"]
            else:
                deployment = self._stage(deployed_stage)["deploymentId"]
            for name in options.stages:
                self._put_stage(name, deployment, options)

    def url(self, stage: str) -> str:
        return f"https://{self.api}.execute-api.{self.region}.amazonaws.com/{stage}"

    @classmethod
    def find(cls, topology: Topology, role: str) -> "Gateway | None":
        """The API that our stack of that role lists; None when there is none.

        Raises NotReady when a stack of the name is not ours.
        """
        region, name = topology.function(role)
        stack = ownership.stack(topology, region, name)
        listed = ownership.resources(region, stack["StackId"]) if stack else ()
        for found in listed:
            if found.logical == "Api" and found.name and not found.deleted:
                return cls(region, found.name)
        return None

    @classmethod
    def require_no_other(cls, topology: Topology, role: str) -> None:
        """Raise NotReady when another API has the name of the role's API.

        Without a stack of its own, Zappa takes any API of that name.
        """
        own = cls.find(topology, role)
        region, name = topology.function(role)
        client = aws.client("apigateway", region)
        with aws.explained():
            pages = client.get_paginator("get_rest_apis").paginate()
            named = [
                api for page in pages for api in page["items"] if api["name"] == name
            ]
        for api in named:
            if own is None or api["id"] != own.api:
                raise NotReady(
                    f"{region}: the API {name} ({api['id']}) is not part of our stack: "
                    f"{ownership.describe(api.get('tags', {}))}. Nothing was changed. Choose "
                    f"another CLUSTER_NAME_PREFIX than {topology.prefix}, or have its owner "
                    f"rename it."
                )

    @classmethod
    def require_own_stages(cls, topology: Topology, role: str) -> None:
        """Raise NotReady when tags say that a stage of our API is not ours.

        A stage without tags is ours, as its API is.
        """
        own = cls.find(topology, role)
        if own is None:
            return
        with aws.explained():
            found = own.client.get_stages(restApiId=own.api)["item"]
        for each in found:
            tags = each.get("tags", {})
            if tags.keys() & topology.common_tags.keys():
                what = f"the stage {each['stageName']} of the API {own.api}"
                ownership.require_ours(topology, own.region, what, tags)

    def _integrations(self, function: str) -> list[Integration]:
        found = invocation.integrations(self.client, self.api, function)
        if not found:
            raise NotReady(
                f"{self.region}: no method of the API {self.api} invokes {function}. Run "
                f"`zappa undeploy` for this Region, then deploy it again."
            )
        return found

    def _remove_credentials(self, invoked: Sequence[Integration]) -> bool:
        """True when there were any: Zappa's name the function's role, which is for Lambda alone."""
        named = [each for each in invoked if each.has_credentials]
        for each in named:
            self.client.put_integration(
                restApiId=self.api, **each.without_credentials()
            )
        return bool(named)

    def _put_errors(self, origins: Sequence[str]) -> bool:
        listed = self.client.get_gateway_responses(restApiId=self.api, limit=500)
        existing = {found["responseType"]: found for found in listed["items"]}
        changed = False
        for kind in ERRORS:
            response = error_response(kind, origins)
            now = existing.get(kind, {})
            if any(now.get(key) != value for key, value in response.items()):
                self.client.put_gateway_response(
                    restApiId=self.api, responseType=kind, **response
                )
                changed = True
        return changed

    def _put_stage(self, name: str, deployment: str, options: StageOptions) -> None:
        if self._stage(name) is None:
            self.client.create_stage(
                restApiId=self.api,
                stageName=name,
                deploymentId=deployment,
                tracingEnabled=True,
                tags=dict(options.tags),
            )
        self.client.update_stage(
            restApiId=self.api,
            stageName=name,
            patchOperations=[
                {"op": "replace", "path": path, "value": value}
                for path, value in stage_settings(deployment, options, name).items()
            ],
        )
        self.client.tag_resource(
            resourceArn=f"arn:aws:apigateway:{self.region}::/restapis/{self.api}/stages/{name}",
            tags=dict(options.tags),
        )

    def _stage(self, name: str) -> Any:
        try:
            return self.client.get_stage(restApiId=self.api, stageName=name)
        except ClientError as error:
            if aws.error_code(error) == "NotFoundException":
                return None
            raise


def stage_settings(
    deployment: str, options: StageOptions, stage: str
) -> dict[str, str]:
    """Patch paths of UpdateStage; ``/*/*`` stands for every method."""
    rate, burst = (RATE, BURST) if stage == options.public_stage else (CLOSED, CLOSED)
    return {
        "/deploymentId": deployment,
        "/tracingEnabled": "true",
        "/accessLogSettings/destinationArn": options.access_logs,
        "/accessLogSettings/format": json.dumps(ACCESS_LOG, separators=(",", ":")),
        "/*/*/throttling/rateLimit": str(rate),
        "/*/*/throttling/burstLimit": str(burst),
        "/*/*/metrics/enabled": "true",
        "/*/*/logging/dataTrace": "false",
    }


def error_response(kind: str, origins: Sequence[str]) -> dict[str, Any]:
    """One gateway response as a problem (RFC 9457), with CORS for an allowed origin.

    API Gateway runs no VTL over it and its headers are constants (developer guide,
    "Gateway responses for REST APIs"), so only one origin can be named: with several
    allowed, browsers see these rare errors without a body, never with a wrong permission.
    """
    code = ERRORS[kind]
    problem_type = PROBLEM_TYPES[code]
    status = None if kind in DEFAULTS else problem_type.status
    body: dict[str, Any] = {
        # On the page of the stage that was called, as the application's own.
        "type": f"/$context.stage/problems#{code.replace('_', '-')}",
        "title": problem_type.title,
        "code": code,
        "detail": UNKNOWN_DETAIL if kind in OUTCOME_UNKNOWN else REFUSED_DETAIL,
        "request_id": "$context.requestId",
    }
    headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
    if status is not None:
        body["status"] = status
    if kind in RETRIED:
        headers["Retry-After"] = "1"
    if len(origins) == 1:
        headers |= {"Access-Control-Allow-Origin": origins[0], "Vary": "Origin"}
    response: dict[str, Any] = {
        "responseParameters": {
            f"gatewayresponse.header.{name}": f"'{value}'"
            for name, value in headers.items()
        },
        "responseTemplates": {"application/json": json.dumps(body)},
    }
    if status is not None:
        response["statusCode"] = str(status)
    return response
