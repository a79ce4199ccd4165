"""What invokes the function: API Gateway in the format that is served, or something else.

Only what is known to be right is served; any other HTTP event gets 501 in a form that its
sender understands, so that a wrong wiring shows at its first request.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.http import HttpResponse

Event = Mapping[str, Any]
BALANCER = "an Application Load Balancer"
FUNCTION_URL = "a function URL"
HTTP_API = "an HTTP API with payload format 2.0"
LATTICE = "VPC Lattice"
WEBSOCKET = "a WebSocket API"
UNKNOWN = "an unknown source of HTTP events"
# What no event of S3, SNS, SQS, EventBridge, Cognito or an operator has.
HTTP_MEMBERS = {
    "httpMethod", "methodArn", "multiValueHeaders", "rawPath", "raw_path", "requestContext",
    "routeArn", "routeKey",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wiring:
    """What sent an HTTP event that is not served."""

    name: str

    def build_response(self, event: Event, response: HttpResponse) -> dict[str, Any]:
        """The response in the form that the sender takes."""
        built: dict[str, Any] = {
            "statusCode": response.status_code,
            "body": response.content.decode(),
            "isBase64Encoded": False,
        }
        if self.name in {BALANCER, LATTICE}:
            phrase = HTTPStatus(response.status_code).phrase
            built["statusDescription"] = f"{response.status_code} {phrase}"
        if "multiValueHeaders" in event:
            built["multiValueHeaders"] = {k: [v] for k, v in response.items()}
        else:
            built["headers"] = dict(response.items())
        return built


def is_served(event: Event) -> bool:
    """Whether it is a request of a REST API, or of an HTTP API with payload format 1.0."""
    request = event.get("requestContext")
    return (
        isinstance(event.get("resource"), str)
        and isinstance(event.get("httpMethod"), str)
        and isinstance(request, Mapping)
        and "elb" not in request
        and event.get("version", "1.0") == "1.0"
        and "methodArn" not in event  # an authorizer is asked for a policy
        and "routeArn" not in event
    )


def find_foreign_wiring(event: Event) -> Wiring | None:
    """What sent an HTTP event that is not served; None for what is no HTTP event."""
    if HTTP_MEMBERS.isdisjoint(event):
        return None
    request = event.get("requestContext")
    request = request if isinstance(request, Mapping) else {}
    if "elb" in request:
        return Wiring(BALANCER)
    if "connectionId" in request and "eventType" in request:
        return Wiring(WEBSOCKET)
    if "serviceNetworkArn" in request or "raw_path" in event:
        return Wiring(LATTICE)
    if "http" in request and event.get("version") == "2.0":
        is_url = ".lambda-url." in str(request.get("domainName"))
        return Wiring(FUNCTION_URL if is_url else HTTP_API)
    return Wiring(UNKNOWN)
