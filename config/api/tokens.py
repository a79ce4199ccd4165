"""Access tokens as RFC 9068 profiles them, and the keys of their issuer (RFC 7517)."""

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from http.client import HTTPException
from typing import Any

import jwt
from django.conf import settings

from config.api.callers import Caller

logger = logging.getLogger(__name__)
MAX_TOKEN_BYTES = 8 * 1024
LEEWAY_SECONDS = 30  # between the issuer's clock and ours
# RFC 9068, section 2.1 and 2.2.
TYPES = {"at+jwt", "application/at+jwt"}
CLAIMS = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"]

LIFETIME_SECONDS = 600  # after which keys are read again, so that a withdrawn one goes
STALE_SECONDS = (
    24 * 3600
)  # how long known keys serve while the issuer cannot be reached
FLOOR_SECONDS = 30  # between two reads, whatever unknown keys tokens name
FETCH_SECONDS = 3
MAX_DOCUMENT_BYTES = 256 * 1024
# What an RSA key may have signed; the type of any other key leaves one algorithm only.
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
Fetch = Callable[[], dict[str, Any]]


class InvalidToken(Exception):
    """The token is refused; the text is for the caller."""


class NoKeys(Exception):
    """The issuer's keys cannot be read and none are known."""


class Keys:
    """The issuer's keys by id, read again when they are old or one is unknown."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float] = time.time) -> None:
        # Wall clock: the monotonic clock stands still while Lambda is frozen.
        self._fetch, self._clock = fetch, clock
        self._lock = threading.Lock()
        self._keys: dict[str, dict[str, jwt.PyJWK]] = {}
        self._read = self._tried = float("-inf")

    def get(self, key_id: str) -> dict[str, jwt.PyJWK] | None:
        """The key for each of its algorithms; None for an unknown one. Raises NoKeys."""
        with self._lock:
            now = self._clock()
            wanted = key_id not in self._keys or now - self._read > LIFETIME_SECONDS
            if wanted and now - self._tried >= FLOOR_SECONDS:
                self._tried = now
                self._refresh(now)
            if not self._keys or now - self._read > STALE_SECONDS:
                raise NoKeys
            return self._keys.get(key_id)

    def _refresh(self, now: float) -> None:
        try:
            found = jwt.PyJWKSet(list(_with_algorithms(self._fetch()["keys"])))
        except (
            OSError,
            HTTPException,
            ValueError,
            LookupError,
            TypeError,
            jwt.PyJWTError,
        ) as error:
            logger.warning("The issuer's keys cannot be read: %s", error)
            return
        keys: dict[str, dict[str, jwt.PyJWK]] = {}
        for key in found:
            if key.key_id and key.public_key_use in {None, "sig"}:
                keys.setdefault(key.key_id, {})[key.algorithm_name] = key
        self._keys, self._read = keys, now


def _with_algorithms(keys: Iterable[Any]) -> Iterator[Any]:
    """Each key as often as it has algorithms; ``alg`` is optional (RFC 7517, section 4.4)."""
    for key in keys:
        if isinstance(key, dict) and key.get("kty") == "RSA" and "alg" not in key:
            yield from ({**key, "alg": algorithm} for algorithm in RSA)
        else:
            yield key


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def read_json(url: str) -> dict[str, Any]:
    """A JSON object over HTTP(S), redirects not followed. Raises OSError, ValueError."""
    if not url.startswith(("https://", "http://")):
        raise ValueError(f"{url} is not an HTTP URL")
    opener = urllib.request.build_opener(_NoRedirect)
    with opener.open(url, timeout=FETCH_SECONDS) as answer:
        content = json.loads(answer.read(MAX_DOCUMENT_BYTES))
    if not isinstance(content, dict):
        raise ValueError(f"{url} is not a JSON object")  # noqa: TRY004 - remote input
    return content


def read_keys() -> dict[str, Any]:
    """The key set: at its own URL, or where the issuer's metadata says (RFC 8414)."""
    url = settings.OIDC_JWKS_URL
    if not url:
        issuer = settings.OIDC_ISSUER
        found = read_json(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise ValueError("the metadata names another issuer")
        url = str(found.get("jwks_uri", ""))
    return read_json(url)


@cache
def keys() -> Keys:
    return Keys(read_keys)


def verify(token: str) -> Caller:
    """The caller whose token this is. Raises InvalidToken, NoKeys."""
    claims = _claims(token)
    scopes = claims.get("scope", "")
    if not isinstance(scopes, str):
        raise InvalidToken("The claim scope must be a text.")
    for name in ("sub", "client_id", "jti"):
        if not isinstance(claims[name], str):
            raise InvalidToken(f"The claim {name} must be a text.")
    return Caller(
        json.dumps([claims["sub"], claims["client_id"]]), frozenset(scopes.split())
    )


def _claims(token: str) -> dict[str, Any]:
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken(f"The token is longer than {MAX_TOKEN_BYTES} bytes.")
    try:
        header = jwt.get_unverified_header(token)
        return dict(
            jwt.decode(
                token,
                _key(header),
                algorithms=settings.OIDC_ALGORITHMS,
                audience=settings.OIDC_AUDIENCE,
                issuer=settings.OIDC_ISSUER,
                leeway=LEEWAY_SECONDS,
                options={"require": CLAIMS, "enforce_minimum_key_length": True},
            )
        )
    except jwt.DecodeError as error:
        raise InvalidToken("The token is not a signed JWT of this issuer.") from error
    except jwt.PyJWTError as error:
        raise InvalidToken(f"{error}.") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidToken("The token is malformed.") from error


def _key(header: dict[str, Any]) -> jwt.PyJWK:
    """What can be refused before a key is looked for is refused here."""
    if str(header.get("typ", "")).lower() not in TYPES:
        raise InvalidToken("The token is not an access token: its typ must be at+jwt.")
    if header.get("alg") not in settings.OIDC_ALGORITHMS:
        raise InvalidToken("The token's algorithm is not allowed.")
    if "crit" in header:
        raise InvalidToken("The token has critical extensions that are not known.")
    key_id = header.get("kid")
    known = keys().get(key_id) if isinstance(key_id, str) else None
    if known is None:
        raise InvalidToken("The token's key is not one of the issuer's.")
    key = known.get(header["alg"])
    if key is None:
        raise InvalidToken("The token's algorithm does not match the key.")
    return key
