"""API Gateway's events and WSGI: the environment of a request, and the response to one.

API Gateway developer guide, "Input format of a Lambda function for proxy integration" and
"Output format of a Lambda function for proxy integration"; payload format 1.0 of HTTP APIs
is the same but for its ``version`` and its ``$default`` route.
"""

import re
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any
from urllib.parse import unquote, urlencode

from config.api.hosts import GATEWAY_NAME
from config.on_lambda.identity import CALLER, as_mapping, as_text, identify_caller

Event = Mapping[str, Any]
# "{id}" stands for one segment of the path, "{proxy+}" for all that follows.
PARAMETER = re.compile(r"\{([^{}+]+)(\+?)\}")
# A slash inside a segment: decoded, it would divide the path into other segments than
# those that API Gateway chose the resource and its authorizer by.
ENCODED_SLASH = re.compile(r"%(?:2f|5c)", re.IGNORECASE)
SLASHES = ("/", "\\")
NO_ROUTE = "/%2F"  # a path that the API will never have
# RFC 9110, section 5.6.2. Some other letters become ASCII in capitals, and a name
# with an underscore would pass for one with a hyphen; servers drop both.
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]+")
DEFAULT = "$default"  # route and stage of an HTTP API


def build_environ(event: Event, context: Any) -> dict[str, Any]:
    """The WSGI environment (PEP 3333) of the request that API Gateway passed on."""
    request = event["requestContext"]
    identity = as_mapping(request.get("identity"))
    mount, path = split_path(event)
    body = _read_body(event)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": event["httpMethod"],
        "SCRIPT_NAME": _to_wsgi_text(mount),
        "PATH_INFO": _to_wsgi_text(path),
        "QUERY_STRING": _build_query(event),
        "CONTENT_LENGTH": str(len(body)),
        # X-Forwarded-For holds what the client sent too; only this address is API Gateway's.
        "REMOTE_ADDR": as_text(identity.get("sourceIp")),
        "SERVER_NAME": "lambda",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTPS": "on",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",  # API Gateway forwards nothing else
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "lambda.context": context,
        CALLER: identify_caller(request),
        # "This should be the same as the incoming Host header": API Gateway developer
        # guide, "Variables for data models, authorizers, mapping templates".
        GATEWAY_NAME: str(request.get("domainName") or "").lower(),
    }
    _add_headers(environ, event)
    return environ


def build_response(status: int, headers: list[tuple[str, str]], body: bytes) -> Any:
    """What API Gateway takes for a response: text as it is, anything else in base64."""
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    try:
        text, is_encoded = body.decode(), False
    except UnicodeDecodeError:
        text, is_encoded = b64encode(body).decode(), True
    return {
        "statusCode": status,
        "multiValueHeaders": values,
        "body": text,
        "isBase64Encoded": is_encoded,
    }


def split_path(event: Event) -> tuple[str, str]:
    """Where the caller sees the API ("", "/prod" or a domain's base path), and the path in it.

    The path inside is the matched resource with its parameters, whose authorizer was asked;
    requestContext.path is what the caller requested, with the mount in front. A path with
    an encoded slash is none of this API's.
    """
    resource = event["resource"]
    requested = event["requestContext"].get("path") or event["path"]
    parameters = event.get("pathParameters") or {}
    if _has_encoded_slash(resource, requested, parameters):
        return "", NO_ROUTE
    seen = unquote(requested)
    if not resource.startswith("/"):
        return _split_default_route(event, seen)
    inside = PARAMETER.sub(lambda name: unquote(parameters[name[1]]), resource)
    if inside == "/":
        return seen.rstrip("/"), "/"
    # API Gateway drops trailing slashes from the parameter, not from the paths; its
    # console's sample events have a slash too many.
    trailing = seen[len(seen.rstrip("/")) :]
    for path in (inside, inside.rstrip("/"), inside.replace("//", "/", 1).rstrip("/")):
        dropped = "" if path.endswith("/") else trailing
        if seen.endswith(path + dropped):
            return seen.removesuffix(path + dropped), path + dropped
    return "", inside


def _has_encoded_slash(
    resource: str, requested: str, parameters: Mapping[str, str]
) -> bool:
    """Whether a segment of the path has a slash in it; "{proxy+}" has more than one."""
    if any(map(ENCODED_SLASH.search, (requested, *parameters.values()))):
        return True
    return any(
        slash in parameters[name]
        for name, is_rest in PARAMETER.findall(resource)
        if not is_rest
        for slash in SLASHES
    )


def _split_default_route(event: Event, seen: str) -> tuple[str, str]:
    """An HTTP API's ``$default`` route names no path; its own domain name has the stage."""
    request = event["requestContext"]
    stage = f"/{request.get('stage')}"
    is_own_name = str(request.get("domainName")).startswith(f"{request.get('apiId')}.")
    if is_own_name and stage != f"/{DEFAULT}" and f"{seen}/".startswith(f"{stage}/"):
        return stage, seen.removeprefix(stage) or "/"
    return "", seen


def _add_headers(environ: dict[str, Any], event: Event) -> None:
    """Repeated headers are joined as every server does (RFC 9110, section 5.3)."""
    for name, values in _iterate_headers(event):
        if not HEADER_NAME.fullmatch(name):
            continue
        key = name.upper().replace("-", "_")
        if key == "CONTENT_LENGTH":
            continue  # of the body before API Gateway encoded it; ours is counted
        if key != "CONTENT_TYPE":
            key = f"HTTP_{key}"
        separator = "; " if key == "HTTP_COOKIE" else ", "  # RFC 6265, section 5.4
        if key in environ:
            values = [environ[key], *values]
        environ[key] = separator.join(values)


def _iterate_headers(event: Event) -> Iterator[tuple[str, list[str]]]:
    multiple = event.get("multiValueHeaders") or {}
    yield from multiple.items()
    for name, value in (event.get("headers") or {}).items():
        if name not in multiple:
            yield name, [value]


def _build_query(event: Event) -> str:
    multiple = event.get("multiValueQueryStringParameters")
    query = multiple or event.get("queryStringParameters")
    if not query:
        return ""
    return urlencode(query, doseq=True, errors="surrogatepass")


def _read_body(event: Event) -> bytes:
    body = event.get("body")
    if not body:
        return b""
    if event.get("isBase64Encoded"):
        return b64decode(body)
    encoded: bytes = body.encode(errors="surrogatepass")
    return encoded


def _to_wsgi_text(text: str) -> str:
    """Bytes as PEP 3333 wants them: decoded as Latin-1."""
    return text.encode(errors="surrogatepass").decode("latin-1")
