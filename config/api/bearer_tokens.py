"""Access tokens as RFC 9068 profiles them, and the keys of their issuer (RFC 7517)."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import jwt
from django.conf import settings

from config.api.callers import Caller
from config.api.fetching import FETCH_SECONDS, Deadline, read_json

logger = logging.getLogger(__name__)
MAX_TOKEN_BYTES = 8 * 1024
MAX_TOKEN_SECONDS = 24 * 3600  # from now to exp: nothing else ends a stolen token
LEEWAY_SECONDS = 30  # between the issuer's clock and ours
# RFC 9068, section 2.1 and 2.2.
TYPES = {"at+jwt", "application/at+jwt"}
CLAIMS = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"]
# NumericDate of RFC 7519, section 2; the library takes a text or a boolean for one too.
MOMENTS = {"exp", "nbf", "iat"}

LIFETIME_SECONDS = 600  # after which keys are read again, so that a withdrawn one goes
STALE_SECONDS = (
    24 * 3600
)  # how long known keys serve while the issuer cannot be reached
FLOOR_SECONDS = 30  # between two reads, whatever unknown keys tokens name
LATE_SECONDS = FETCH_SECONDS + 1  # a read that takes longer was frozen, or is stuck
# How long a request waits for a read: the thread that reads stands still between requests
# where the process is frozen, so that a request has to give it time.
KNOWN_KEY_WAIT, UNKNOWN_KEY_WAIT = 0.25, 2.0
# What an RSA key may have signed; the type of any other key leaves one algorithm only.
RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
Fetch = Callable[[], dict[str, Any]]
ByAlgorithm = Mapping[str, jwt.PyJWK]


class InvalidToken(Exception):
    """The token is refused; the text is for the caller."""


class NoKeys(Exception):
    """The issuer's keys cannot be read and none are known."""


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one read; ``named`` are those with a ``kid``, by it."""

    named: Mapping[str, ByAlgorithm] = field(default_factory=dict)
    unnamed: tuple[jwt.PyJWK, ...] = ()
    read_at: float = float("-inf")

    def match(self, key_id: str | None, algorithm: str) -> ByAlgorithm | None:
        """The key by its algorithms; without a common ``kid`` only if one alone fits."""
        if key_id is not None and key_id in self.named:
            return self.named[key_id]
        fitting = [key for key in self.unnamed if key.algorithm_name == algorithm]
        if key_id is None:
            fitting += [
                key for keys in self.named.values() if (key := keys.get(algorithm))
            ]
        return {algorithm: fitting[0]} if len(fitting) == 1 else None

    def knows(self, key_id: str | None, algorithm: str) -> bool:
        """Whether a match is the key that is meant, not one that a new key may replace."""
        if key_id in self.named:
            return True
        has_new_name = key_id is not None and self.named
        return not has_new_name and self.match(key_id, algorithm) is not None


@dataclass(slots=True, eq=False)
class _Read:
    """One read of the key set, in a thread of its own."""

    started: float
    done: threading.Event = field(default_factory=threading.Event)
    late: bool = False  # found running when its time was over
    frozen: bool = False  # it failed, but had not had its time


class Keys:
    """The issuer's keys, read again when they are old or one is unknown."""

    def __init__(
        self,
        fetch: Fetch,
        clock: Callable[[], float] = time.time,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        # Wall clock: the monotonic clock stands still while Lambda is frozen.
        self._fetch, self._clock, self._wait = fetch, clock, wait
        self._lock = threading.Lock()  # never held while anything is waited for
        self._keys = KeySet()
        self._read: _Read | None = None
        self._tried = float("-inf")
        self._refused: frozenset[str] = frozenset()

    def get(self, key_id: str | None, algorithm: str) -> ByAlgorithm | None:
        """The key by its algorithms; None for an unknown one. Raises NoKeys."""
        keys = self._keys
        age = self._clock() - keys.read_at
        known = age <= STALE_SECONDS and keys.knows(key_id, algorithm)
        # A clock that was set back says nothing of the age.
        if not known or not 0 <= age <= LIFETIME_SECONDS:
            self._await_read(KNOWN_KEY_WAIT if known else UNKNOWN_KEY_WAIT)
            keys = self._keys
        if self._clock() - keys.read_at > STALE_SECONDS:
            raise NoKeys("no key of the issuer is known")
        return keys.match(key_id, algorithm)

    def _await_read(self, seconds: float) -> None:
        """Give a read that is due or under way so much time, others' reads included."""
        ends = time.monotonic() + seconds
        while read := self._current_read():
            left = ends - time.monotonic()
            if left <= 0 or not self._wait(read.done, left) or not read.frozen:
                return

    def _current_read(self) -> _Read | None:
        """The read under way, or a new one if it is due; None when not to wait."""
        with self._lock:
            now = self._clock()
            if (read := self._read) and not read.done.is_set():
                if now - read.started <= LATE_SECONDS:
                    return read
                if not read.late:  # it may have been frozen: one request lets it end
                    read.late = True
                    return read
            if 0 <= now - self._tried < FLOOR_SECONDS:
                return None
            read = _Read(now)
            # The thread's log lines have the id of the request that began it.
            thread = threading.Thread(
                target=copy_context().run, args=(self._run, read), daemon=True
            )
            self._tried = now
            try:
                thread.start()
            except RuntimeError as error:
                logger.warning("The issuer's keys cannot be read: %s", error)
                return None
            self._read = read
            return read

    def _run(self, read: _Read) -> None:
        keys = failure = None
        try:
            keys, refused = parse_keys(self._fetch(), self._clock())
        except Exception as error:  # noqa: BLE001 - whatever an issuer sends, requests go on
            failure = error
        with self._lock:
            if read is not self._read:
                failure = None  # another one has taken its place
            elif keys:
                self._keys = keys
                for member in sorted(refused - self._refused):
                    logger.warning("A key of the issuer is left out: %s", member)
                self._refused = refused
            elif self._clock() - read.started > LATE_SECONDS:
                read.frozen, self._tried, failure = True, float("-inf"), None
        if failure:
            logger.warning("The issuer's keys cannot be read: %s", failure)
        read.done.set()


def parse_keys(
    document: dict[str, Any], read_at: float
) -> tuple[KeySet, frozenset[str]]:
    """The usable keys, and what is wrong with each of the others. Raises ValueError.

    A member that is malformed takes no other with it.
    """
    members = document.get("keys")
    if not isinstance(members, list):
        raise ValueError("the key set has no list of keys")  # noqa: TRY004 - remote input
    named: dict[str, dict[str, jwt.PyJWK]] = {}
    unnamed: list[jwt.PyJWK] = []
    refused = set()
    for number, member in enumerate(members):
        try:
            for key in _verifying(member):
                if kid := member.get("kid"):
                    named.setdefault(kid, {})[key.algorithm_name] = key
                else:
                    unnamed.append(key)
        except Exception as error:  # noqa: BLE001 - an issuer may send anything
            refused.add(f"number {number}: {error}"[:200])
    if not named and not unnamed:
        raise ValueError(f"the key set has no usable key {sorted(refused)[:3]}")
    return KeySet(named, tuple(unnamed), read_at), frozenset(refused)


def _verifying(member: Any) -> Iterator[jwt.PyJWK]:
    """The key as often as it has algorithms; none if it is for something else.

    ``alg`` is optional (RFC 7517, section 4.4). Raises TypeError, PyJWTError.
    """
    if not isinstance(member, dict):
        raise TypeError("it is no object")
    for name in ("kid", "alg"):
        if not isinstance(member.get(name, ""), str):
            raise TypeError(f"its {name} is no text")
    operations = member.get("key_ops", ["verify"])
    if member.get("use") not in (None, "sig") or "verify" not in operations:
        return
    algorithms = RSA if member.get("kty") == "RSA" else (None,)
    for algorithm in (None,) if "alg" in member else algorithms:
        yield jwt.PyJWK(member, algorithm)


def read_keys() -> dict[str, Any]:
    """The key set: at its own URL, or where the issuer's metadata says (RFC 8414)."""
    deadline = Deadline()  # of both documents
    issuer, url = settings.OIDC_ISSUER, settings.OIDC_JWKS_URL
    if not url:
        metadata = read_json(
            f"{issuer.rstrip('/')}/.well-known/openid-configuration", deadline
        )
        if metadata.get("issuer") != issuer:
            raise ValueError("the metadata names another issuer")
        url = str(metadata.get("jwks_uri", ""))
    if urlsplit(issuer).scheme == "https" and urlsplit(url).scheme != "https":
        raise ValueError(f"{url!r} is not an https URL, as the issuer is")
    return read_json(url, deadline)


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
        if not isinstance(claims[name], str) or not claims[name]:
            raise InvalidToken(f"The claim {name} must be a text that is not empty.")
    # RFC 6749, section 3.3: scopes are separated by spaces, and by nothing else.
    return Caller(
        json.dumps([claims["sub"], claims["client_id"]]), frozenset(scopes.split(" "))
    )


def _claims(token: str) -> dict[str, Any]:
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken(f"The token is longer than {MAX_TOKEN_BYTES} bytes.")
    try:
        header = jwt.get_unverified_header(token)
        claims = dict(
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
        for name in MOMENTS & claims.keys():
            if type(claims[name]) not in (int, float):
                raise InvalidToken(f"The claim {name} must be a number of seconds.")
        if int(claims["exp"]) > time.time() + MAX_TOKEN_SECONDS + LEEWAY_SECONDS:
            raise InvalidToken(
                f"The claim exp is more than {MAX_TOKEN_SECONDS // 3600} hours ahead."
            )
    except jwt.DecodeError as error:
        raise InvalidToken("The token is not a signed JWT of this issuer.") from error
    except jwt.PyJWTError as error:
        raise InvalidToken(f"{error}.") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidToken("The token is malformed.") from error
    return claims


def _key(header: dict[str, Any]) -> jwt.PyJWK:
    """What can be refused before a key is looked for is refused here."""
    if str(header.get("typ", "")).lower() not in TYPES:
        raise InvalidToken("The token is not an access token: its typ must be at+jwt.")
    if header.get("alg") not in settings.OIDC_ALGORITHMS:
        raise InvalidToken("The token's algorithm is not allowed.")
    if "crit" in header:
        raise InvalidToken("The token has critical extensions that are not known.")
    known = keys().get(header.get("kid"), header["alg"])
    if known is None:
        raise InvalidToken("The token's key is not one of the issuer's.")
    key = known.get(header["alg"])
    if key is None:
        raise InvalidToken("The token's algorithm does not match the key.")
    return key
