"""IAM authentication tokens: signed locally, kept while comfortably valid.

A token is a SigV4 presigned URL without its scheme, used as the password:
AWS user guide, "Generating an authentication token in Amazon Aurora DSQL".
botocore resolves and refreshes the credentials; no client is built.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.db import OperationalError

LIFETIME = 900  # seconds; DSQL checks a token only when a connection opens
RENEW_BEFORE = 300  # seconds left at which a kept token is no longer handed out
MAX_CAUSE = 300  # characters of a source's error


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a token is good for: host name, Region and database role."""

    host: str
    region: str
    user: str

    @property
    def action(self) -> str:
        return "DbConnectAdmin" if self.user == "admin" else "DbConnect"


def region_of(host: str) -> str | None:
    """The Region in ``<id>.dsql.<region>.on.aws``, or None for another name."""
    parts = host.lower().split(".")
    if len(parts) == 5 and parts[1].startswith("dsql") and parts[3:] == ["on", "aws"]:
        return parts[2]
    return None


@cache
def _session() -> Any:
    # Imported at the first connection: botocore costs 70 ms, settings need none of it.
    from botocore.session import Session

    return Session()


class CredentialsUnavailable(OperationalError):
    """No token can be signed: one sentence that says why, and what to do."""


def session_credentials() -> Any:
    """The process's frozen AWS credentials, refreshed by botocore when due.

    Raises CredentialsUnavailable, whatever the source failed with.
    """
    try:
        credentials = _session().get_credentials()
        frozen = None if credentials is None else credentials.get_frozen_credentials()
    # Each source raises what it meets: BotoCoreError, ClientError of STS, OSError of a
    # token's file, ValueError of a program's output, RuntimeError of an expired refresh.
    except Exception as error:
        cause = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise CredentialsUnavailable(
            f"The AWS credentials to sign a DSQL token with cannot be had: "
            f"{cause[:MAX_CAUSE]}; sign in again (`aws sso login`) or correct their source."
        ) from error
    if frozen is None or not (frozen.access_key and frozen.secret_key):
        raise CredentialsUnavailable(
            "No AWS credentials to sign a DSQL token with: set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or run with an IAM role."
        )
    return frozen


def sign(endpoint: Endpoint, credentials: Any, lifetime: int = LIFETIME) -> str:
    """A token for the endpoint, valid for ``lifetime`` seconds from now."""
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest

    request = AWSRequest(
        method="GET",
        url=f"https://{endpoint.host}/",
        params={"Action": endpoint.action},
    )
    SigV4QueryAuth(credentials, "dsql", endpoint.region, expires=lifetime).add_auth(
        request
    )
    return str(request.url).removeprefix("https://")


class TokenCache:
    """Hands out tokens per endpoint and key; safe to share between threads."""

    def __init__(
        self,
        credentials: Callable[[], Any] = session_credentials,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._credentials = credentials
        self._clock = clock
        self._kept: dict[Endpoint, tuple[str, float, str]] = {}
        self._lock = threading.Lock()

    def issue(self, endpoint: Endpoint) -> str:
        credentials = self._credentials()
        with self._lock:
            key, expires, token = self._kept.get(endpoint, ("", 0.0, ""))
            now = self._clock()
            # More than LIFETIME are left when the clock was set back since.
            fresh = RENEW_BEFORE <= expires - now <= LIFETIME
            if key != credentials.access_key or not fresh:
                token = sign(endpoint, credentials)
                self._kept[endpoint] = (credentials.access_key, now + LIFETIME, token)
            return token


TOKENS = TokenCache()
