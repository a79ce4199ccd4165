"""The WSGI application behind API Gateway: real client address, links that lead back."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from config.api.guard import guarded
from config.api.hosts import GATEWAY_NAME
from config.wsgi import application as django

Environ = dict[str, Any]
CALLER = "apigateway.caller"
StartResponse = Callable[..., Any]


@guarded
def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Correct what Zappa says of the request, by API Gateway's own event."""
    event = environ["lambda.event"]
    context = event.get("requestContext") or {}
    mount, path = mounted(event)
    environ["SCRIPT_NAME"] = _wsgi_text(mount)
    environ["PATH_INFO"] = _wsgi_text(path)
    # X-Forwarded-For holds what the client sent too; only this address is API Gateway's.
    source = (context.get("identity") or {}).get("sourceIp")
    environ["REMOTE_ADDR"] = source or ""
    environ[CALLER] = caller_of(context)
    # "This should be the same as the incoming Host header": API Gateway developer guide,
    # "Variables for data models, authorizers, mapping templates".
    environ[GATEWAY_NAME] = str(context.get("domainName") or "").lower()
    response: Iterable[bytes] = django(environ, start_response)
    return response


def caller_of(context: Mapping[str, Any]) -> str:
    """Whom an authorizer of API Gateway let in (Cognito, Lambda, IAM); "" without one."""
    authorizer = context.get("authorizer") or {}
    claims = authorizer.get("claims") or {}
    identity = context.get("identity") or {}
    found = (
        claims.get("sub") or authorizer.get("principalId") or identity.get("userArn")
    )
    return str(found or "")


def mounted(event: Mapping[str, Any]) -> tuple[str, str]:
    """Where the caller sees the API ("", "/prod" or a domain's base path), and the path in it.

    requestContext.path is what the caller asked for; what follows the mount is the
    greedy path parameter, or for the root resource nothing (API Gateway developer
    guide, "Input format of a Lambda function for proxy integration").
    """
    seen = unquote((event.get("requestContext") or {}).get("path") or event["path"])
    proxy = (event.get("pathParameters") or {}).get("proxy")
    if proxy is None:
        return seen.rstrip("/"), "/"
    inside = "/" + unquote(proxy)
    # API Gateway drops a trailing slash from the parameter, not from the paths.
    for path in (inside, inside + "/"):
        if seen.endswith(path):
            return seen[: -len(path)], path
    return seen.removesuffix(unquote(event["path"])), unquote(event["path"])


def _wsgi_text(text: str) -> str:
    """Bytes as PEP 3333 wants them: decoded as Latin-1."""
    return text.encode().decode("latin-1")
