"""The HTTP side of the control plane: SigV4 checked, JSON in, JSON out.

A request's algorithm is AWS's "Create a signed AWS API request" (Authorization header).
"""

import hashlib
import hmac
import json
import logging
import re
import socket
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any, cast
from urllib.parse import quote

from ops.local.sandbox.api_model import (
    ApiError,
    http_status,
    invalid,
    parameters,
    route,
)
from ops.local.sandbox.clusters import REGIONS
from ops.local.sandbox.control import OPERATIONS, Control
from ops.local.sandbox.signatures import SKEW, Key, signature

logger = logging.getLogger(__name__)
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,]+)/(?P<day>\d{8})/(?P<region>[^/]+)/(?P<service>"
    r"[^/]+)/aws4_request, ?SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>\w{64})"
)
MAX_BODY = 1 << 20  # bytes
IDLE_SECONDS = 60  # a kept connection without a request
RETRY_AFTER = "retryAfterSeconds"  # the one member the model puts into a header


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str  # path and query as sent
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class ControlServer:
    """Responds to requests; ``serve`` takes a connection whose first byte is still unread."""

    control: Control
    find_key: Callable[[str], Key | None]

    def serve(self, connection: socket.socket) -> None:
        """Serve the connection in a thread of its own and close it at its end."""
        connection.setblocking(True)
        threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        with connection:
            try:
                Handler(connection, ("127.0.0.1", 0), cast("Any", self))
            except OSError as error:
                logger.debug("a control connection ended: %s", error)

    def response(self, request: Request) -> tuple[int, dict[str, Any], str] | None:
        """Status, body and error code; None where no endpoint would exist at all."""
        try:
            region, key = authenticate(request, self.find_key, datetime.now(UTC))
            if region not in REGIONS:
                return None
            return 200, self._call(request, region, key), ""
        except ApiError as error:
            members = {"message": error.message, **error.members}
            return http_status(error), members, error.code

    def _call(self, request: Request, region: str, key: Key) -> dict[str, Any]:
        path, _, query = request.target.partition("?")
        operation, values = route(request.method, path)
        if operation.name not in OPERATIONS:
            text = f"The sandbox does not serve {operation.name}"
            raise invalid(text, "unknownOperation")
        try:
            body = json.loads(request.body or b"{}")
        except ValueError:
            raise invalid("The body is not JSON", "cannotParse") from None
        if not isinstance(body, dict):
            raise invalid("The body is not a JSON object", "cannotParse")
        checked = parameters(operation, values, query, body)
        return self.control.call(operation.name, checked, region, key)


class Handler(BaseHTTPRequestHandler):
    """One connection; ``server`` is the ControlServer."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True
    server: Any

    def _respond(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > MAX_BODY:
            self.close_connection = True
            return
        body = self.rfile.read(int(length))
        headers = {name.lower(): value for name, value in self.headers.items()}
        found = self.server.response(Request(self.command, self.path, headers, body))
        if found is None:
            self.close_connection = True
            return
        status, members, code = found
        retry_after = members.pop(RETRY_AFTER, None)
        content = json.dumps(members).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        if code:
            self.send_header("x-amzn-ErrorType", code)
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = do_PUT = _respond  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: Any) -> None:
        logger.info("%s", format % args)


def authenticate(
    request: Request, find_key: Callable[[str], Key | None], now: datetime
) -> tuple[str, Key]:
    """The Region of the credential scope and the key. Raises ApiError."""
    found = AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if found is None:
        raise ApiError(
            "MissingAuthenticationTokenException", "Missing Authentication Token"
        )
    key = find_key(found["key"])
    if key is None or "x-amz-security-token" in request.headers:
        raise ApiError(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        )
    stamp = request.headers.get("x-amz-date", "")
    _check_scope(found, stamp, now)
    names = found["headers"].split(";")
    if "host" not in names or "x-amz-date" not in names:
        raise _refused("'Host' and 'X-Amz-Date' must be among the signed headers.")
    expected = signature(_canonical(request, names), stamp, found["region"], key)
    if not hmac.compare_digest(expected, found["signature"]):
        raise _refused(
            "The request signature we calculated does not match the signature you provided."
        )
    return found["region"], key


def _check_scope(found: re.Match[str], stamp: str, now: datetime) -> None:
    if found["service"] != "dsql":
        raise _refused("Credential should be scoped to correct service: 'dsql'.")
    try:
        signed = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise _refused("X-Amz-Date must be in ISO8601 basic format") from None
    if not stamp.startswith(found["day"]):
        raise _refused("Date in Credential scope does not match X-Amz-Date")
    if signed < now - SKEW:
        raise _refused(f"Signature expired: {stamp} is now earlier than allowed")
    if signed > now + SKEW:
        raise _refused(
            f"Signature not yet current: {stamp} is still later than allowed"
        )


def _canonical(request: Request, names: list[str]) -> str:
    path, _, query = request.target.partition("?")
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&") if pair)
    # Each header's value loses the spaces around it and all but one of those inside it.
    headers = "".join(
        f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in names
    )
    return "\n".join(
        (
            request.method,
            quote(path, safe="/~"),  # services but S3 encode the sent path once more
            "&".join(f"{name}={value}" for name, value in pairs),
            headers,
            ";".join(names),
            hashlib.sha256(request.body).hexdigest(),
        )
    )


def _refused(text: str) -> ApiError:
    return ApiError("InvalidSignatureException", text)
