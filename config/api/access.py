"""Who calls and what they may do: OAuth 2.0 bearer tokens, or no authentication.

``API_AUTH`` must be chosen: "oidc" checks an access token on every request, "none" lets
everyone do everything. ``config.api.bearer_tokens`` judges a token, and is imported only
where tokens are used.
"""

from typing import Any, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from config.api.callers import Caller
from config.api.problems import Problem

OIDC, NONE = "oidc", "none"
SCOPES: dict[str, str] = {}  # what each one allows; the apps declare them
ACCESS_NOT_CHOSEN = (
    'API_AUTH is not set: set it to "oidc", or to "none" to let everyone in.'
)


class Bearer(BaseAuthentication):
    """RFC 6750, in the Authorization header only."""

    def authenticate(self, request: Request) -> tuple[Caller, None]:
        """Raises Problem: 401 with a challenge, or 503 when no key can be had."""
        if settings.API_AUTH == NONE:
            identity = request.META.get("apigateway.caller", "")
            return Caller(identity, frozenset(SCOPES)), None
        if settings.API_AUTH != OIDC:
            raise ImproperlyConfigured(ACCESS_NOT_CHOSEN)
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            raise unauthenticated("Send an access token: Authorization: Bearer …")
        # Takes 30 ms, which a deployment without tokens saves.
        from config.api import bearer_tokens

        try:
            return bearer_tokens.verify(token.strip()), None
        except bearer_tokens.InvalidToken as error:
            raise unauthenticated(str(error), error="invalid_token") from error
        except bearer_tokens.NoKeys as error:
            raise Problem(
                "issuer_unavailable",
                "The issuer's keys cannot be read; nothing was done. Repeat the request.",
                headers={"Retry-After": str(bearer_tokens.FLOOR_SECONDS)},
            ) from error


def get_caller(request: Request) -> Caller:
    return cast(Caller, request.user)


def has_scope(request: Request, scope: str) -> bool:
    return scope in get_caller(request).scopes


class HasScope(BasePermission):
    """The view's ``scopes`` name what each method requires; a method without one is closed."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Raises Problem 403 naming the scope."""
        if request.method == "OPTIONS":
            return True
        needed = view.scopes.get("GET" if request.method == "HEAD" else request.method)
        if has_scope(request, needed):
            return True
        if request.method not in view.allowed_methods:
            return True  # the response will be 405
        raise Problem(
            "insufficient_scope",
            f"The access token must have the scope {needed}.",
            headers=challenge(error="insufficient_scope", scope=needed),
        )


def unauthenticated(detail: str, **parameters: str) -> Problem:
    return Problem("unauthenticated", detail, headers=challenge(**parameters))


def challenge(**parameters: str) -> dict[str, str]:
    """RFC 6750, section 3."""
    named = {"realm": settings.API_NAME, **parameters}
    text = ", ".join(f'{name}="{value}"' for name, value in named.items())
    return {"WWW-Authenticate": f"Bearer {text}"}
