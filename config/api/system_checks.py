"""System checks: what must be decided before the API serves, and before it is deployed."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from config.api import access

# A name or an IPv4 address, or the IPv6 address of which urlsplit takes the brackets off.
HOST = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?|[0-9a-f:]+:[0-9a-f:.]+")


@register(Tags.security)
def check_access(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    if settings.API_AUTH == access.OIDC:
        return [
            Error(f"API_AUTH is oidc, but {name} is not set.", hint=hint, id="api.E002")
            for name, hint in (
                ("OIDC_ISSUER", "Set it to the iss claim of the access tokens."),
                ("OIDC_AUDIENCE", "Set it to this API's name at the issuer."),
            )
            if not getattr(settings, name)
        ]
    if settings.API_AUTH == access.NONE:
        return []
    return [
        Error(access.ACCESS_NOT_CHOSEN, hint="Choose one explicitly.", id="api.E001")
    ]


@register(Tags.security, deploy=True)
def check_deployment(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    found = []
    if settings.API_AUTH == access.NONE:
        found.append(
            Error(
                'API_AUTH is "none": everyone who reaches the API may do everything.',
                hint='Set API_AUTH="oidc", OIDC_ISSUER and OIDC_AUDIENCE.',
                id="api.E003",
            )
        )
    if "*" in settings.ALLOWED_HOSTS:
        found.append(
            Error(
                'ALLOWED_HOSTS has "*": requests with any Host are served.',
                hint="List the API's own names; API Gateway's need no listing.",
                id="api.E005",
            )
        )
    for name in ("OIDC_ISSUER", "OIDC_JWKS_URL", "PEER_URL"):
        url = getattr(settings, name)
        if url and not _is_https(url):
            hint = "Use https:// and a host's name, without user, password or blanks."
            found.append(Error(f"{name} is {url!r}.", hint=hint, id="api.E004"))
    if not {"?", "#"}.isdisjoint(settings.OIDC_ISSUER):
        # RFC 8414, section 2
        hint = "An issuer's URL has neither a query nor a fragment."
        text = f"OIDC_ISSUER is {settings.OIDC_ISSUER!r}."
        found.append(Error(text, hint=hint, id="api.E004"))
    return found


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        is_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    is_host = bool(HOST.fullmatch(host)) and "@" not in parts.netloc
    is_clean = url.isascii() and url.isprintable() and " " not in url
    return parts.scheme == "https" and is_host and is_port and is_clean
