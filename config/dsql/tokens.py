"""IAM authentication tokens: signed locally, kept while comfortably valid.

A token is a SigV4 presigned URL without its scheme, used as the password:
AWS user guide, "Generating an authentication token in Amazon Aurora DSQL".
"""

import hashlib
import hmac
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from .credentials import Credentials, find_credentials

LIFETIME = 900  # seconds; DSQL checks a token only when a connection opens
RENEW_BEFORE = 300  # seconds left at which a kept token is no longer handed out
ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a token is valid for: host name, Region and database role."""

    host: str
    region: str
    user: str

    @property
    def action(self) -> str:
        return "DbConnectAdmin" if self.user == "admin" else "DbConnect"


def parse_region(host: str) -> str | None:
    """The Region in ``<id>.dsql.<region>.on.aws``, or None for another name."""
    parts = host.lower().split(".")
    if len(parts) == 5 and parts[1].startswith("dsql") and parts[3:] == ["on", "aws"]:
        return parts[2]
    return None


def sign(
    endpoint: Endpoint,
    credentials: Credentials,
    lifetime: int = LIFETIME,
    now: float | None = None,
) -> str:
    """A token for the endpoint, valid for ``lifetime`` seconds from now.

    IAM user guide, "Create a signed AWS API request": the parts of the signature stand in
    the query, in botocore's order, and are signed in alphabetical order.
    """
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    scope = f"{moment[:8]}/{endpoint.region}/dsql/aws4_request"
    parameters = {
        "Action": endpoint.action,
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(lifetime),
        "X-Amz-SignedHeaders": "host",
    }
    if credentials.token:
        parameters["X-Amz-Security-Token"] = credentials.token
    pairs = [
        f"{name}={quote(value, safe='-_.~')}" for name, value in parameters.items()
    ]
    host = endpoint.host.lower()
    request = f"GET\n/\n{'&'.join(sorted(pairs))}\nhost:{host}\n\nhost\n{EMPTY}"
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (*scope.split("/"), f"{ALGORITHM}\n{moment}\n{scope}\n{digest}"):
        key = hmac.digest(key, part.encode(), "sha256")
    return f"{endpoint.host}/?{'&'.join(pairs)}&X-Amz-Signature={key.hex()}"


class TokenCache:
    """Hands out tokens per endpoint and key; safe to share between threads."""

    def __init__(
        self,
        credentials: Callable[[], Credentials] = find_credentials,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._credentials = credentials
        self._clock = clock
        self._kept: dict[Endpoint, tuple[Credentials, float, str]] = {}
        self._lock = threading.Lock()

    def issue(self, endpoint: Endpoint) -> str:
        credentials = self._credentials()
        with self._lock:
            kept = self._kept.get(endpoint)
            now = self._clock()
            # More than LIFETIME are left when the clock was set back since.
            if (
                kept
                and kept[0] == credentials
                and RENEW_BEFORE <= kept[1] - now <= LIFETIME
            ):
                return kept[2]
            token = sign(endpoint, credentials, now=now)
            self._kept[endpoint] = credentials, now + LIFETIME, token
            return token

    def clear(self) -> None:
        with self._lock:
            self._kept.clear()


TOKENS = TokenCache()
