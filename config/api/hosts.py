"""The names a request may call the API by: every request's Host against an allow-list.

A page whose DNS name was rebound to this server's address is same-origin to a browser, but
its requests still carry its own name.
"""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host

# Where the Lambda entry point puts requestContext.domainName: the execute-api name or the
# configured domain by which API Gateway routed the request to this API.
GATEWAY_NAME = "apigateway.domain_name"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
LOOPBACK_ADDRESSES = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})


def is_allowed(meta: Mapping[str, Any]) -> bool:
    """Whether the request names this API; ``meta`` is the WSGI environment."""
    host = meta.get("HTTP_HOST")
    if host and host == meta.get(GATEWAY_NAME):
        return True  # nearly every request on Lambda, without reading it
    if host is None:
        # HTTP/1.0 may omit it. What a server on loopback calls itself proves nothing.
        name = meta.get("SERVER_NAME", "")
        return name not in LOOPBACK_NAMES and validate_host(
            name, settings.ALLOWED_HOSTS
        )
    name, _ = split_domain_port(host)
    if not name:
        return False
    if name == meta.get(GATEWAY_NAME):  # written with a port or in capitals
        return True
    if name in LOOPBACK_NAMES and meta.get("REMOTE_ADDR") in LOOPBACK_ADDRESSES:
        return True  # no rebound name is one of these
    return validate_host(name, settings.ALLOWED_HOSTS)
