"""System checks: what must be decided before the API serves, and before it is deployed."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from config.api import access


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
    return [Error(access.UNCHOSEN, hint="Choose one explicitly.", id="api.E001")]


@register(Tags.security, deploy=True)
def check_deployment(app_configs: Any, **kwargs: Any) -> Sequence[CheckMessage]:
    found = []
    if settings.API_AUTH == access.NONE:
        found.append(
            Error(
                'API_AUTH is "none": everyone who reaches the API may change every user.',
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
            hint = "Use https:// and a host's name."
            found.append(Error(f"{name} is {url!r}.", hint=hint, id="api.E004"))
    return found


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname)
