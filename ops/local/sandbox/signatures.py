"""Verification of an IAM token, independent of botocore's signer.

The token is a SigV4 query-signed GET without its scheme; the algorithm is AWS's
"Create a signed AWS API request" (query string form, SignedHeaders=host).
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote

MAX_LIFETIME = 604_800  # seconds
SKEW = timedelta(minutes=5)
REQUIRED = {
    "Action", "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires",
    "X-Amz-SignedHeaders", "X-Amz-Signature",
}  # fmt: skip
OPTIONAL = {"X-Amz-Security-Token"}
EMPTY_HASH = hashlib.sha256(b"").hexdigest()


class TokenRefused(Exception):
    """Why a token is not good; the text becomes the HINT."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key pair of the sandbox and whom it stands for."""

    access_key: str
    secret_key: str
    arn: str
    actions: tuple[str, ...]


def verify(
    token: str,
    *,
    host: str,
    region: str,
    user: str,
    find_key: Callable[[str], Key | None],
    now: datetime,
) -> Key:
    """The key the token was signed with. Raises TokenRefused."""
    address, _, query = token.partition("/?")
    if address.lower() != host.lower():
        raise TokenRefused("The token was signed for another host")
    params = _parameters(query)
    action = "DbConnectAdmin" if user == "admin" else "DbConnect"
    if params["Action"] != action:
        raise TokenRefused(
            f"Wrong user to action mapping. user: {user}, action: {params['Action']}"
        )
    key = _key(params, region, find_key)
    _check_times(params, now)
    if not hmac.compare_digest(
        _signature(params, host, region, key), params["X-Amz-Signature"]
    ):
        raise TokenRefused("Signature does not match")
    if action not in key.actions:
        raise TokenRefused(
            f"User: {key.arn} is not authorized to perform: dsql:{action}"
        )
    return key


def _parameters(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
    except ValueError:
        raise TokenRefused("The password is not a token") from None
    params = dict(pairs)
    if len(params) != len(pairs) or not REQUIRED <= set(params) <= REQUIRED | OPTIONAL:
        raise TokenRefused("The token lacks, repeats or adds parameters")
    if params["X-Amz-Algorithm"] != "AWS4-HMAC-SHA256":
        raise TokenRefused("Unknown signature algorithm")
    if params["X-Amz-SignedHeaders"] != "host":
        raise TokenRefused("Exactly the host header must be signed")
    return params


def _key(
    params: dict[str, str], region: str, find_key: Callable[[str], Key | None]
) -> Key:
    access_key, _, scope = params["X-Amz-Credential"].partition("/")
    day = params["X-Amz-Date"][:8]
    if scope != f"{day}/{region}/dsql/aws4_request":
        raise TokenRefused("The token was signed for another Region, service or day")
    key = find_key(access_key)
    if key is None or "X-Amz-Security-Token" in params:
        raise TokenRefused("The security token included in the request is invalid")
    return key


def _check_times(params: dict[str, str], now: datetime) -> None:
    try:
        signed = datetime.strptime(params["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(
            tzinfo=UTC
        )
        lifetime = int(params["X-Amz-Expires"])
    except ValueError:
        raise TokenRefused("The token's date or lifetime is malformed") from None
    if not 1 <= lifetime <= MAX_LIFETIME:
        raise TokenRefused(f"X-Amz-Expires must be from 1 to {MAX_LIFETIME} seconds")
    if signed - now > SKEW:
        raise TokenRefused("Signature not yet current")
    if now > signed + timedelta(seconds=lifetime):
        raise TokenRefused(
            f"Signature expired: {params['X-Amz-Date']} is {lifetime} s ago or more"
        )


def _signature(params: dict[str, str], host: str, region: str, key: Key) -> str:
    signed = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in params.items()
        if name != "X-Amz-Signature"
    )
    query = "&".join(f"{name}={value}" for name, value in signed)
    request = f"GET\n/\n{query}\nhost:{host}\n\nhost\n{EMPTY_HASH}"
    return signature(request, params["X-Amz-Date"], region, key)


def signature(request: str, stamp: str, region: str, key: Key) -> str:
    """The hexadecimal signature of a canonical request made at ``stamp``."""
    scope = f"{stamp[:8]}/{region}/dsql/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
    secret = f"AWS4{key.secret_key}".encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    return hmac.new(secret, text.encode(), "sha256").hexdigest()
