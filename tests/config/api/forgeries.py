"""Access tokens that are refused: a name, the reason and the token of each."""

import base64
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from tests.config.api.signed_tokens import (
    ISSUER,
    KEY,
    PEM,
    RSA_KEY,
    SPKI,
    forged,
    jwk,
    token,
)

Make = Callable[[int], str]  # from the present, in seconds since 1970


def wrong_signatures() -> Iterator[tuple[str, str, str]]:
    other = ec.generate_private_key(ec.SECP256R1())
    yield (
        "no signature",
        "algorithm is not allowed",
        forged({"alg": "none", "typ": "at+jwt", "kid": "ec"}),
    )
    yield (
        "NoNe",
        "algorithm is not allowed",
        forged({"alg": "NoNe", "typ": "at+jwt", "kid": "ec"}),
    )
    yield (
        "public key as a secret",
        "algorithm is not allowed",
        forged({"alg": "HS256", **SPKI}, PEM),
    )
    yield (
        "algorithm of another key",
        "does not match the key",
        forged({"alg": "ES256", **SPKI}, PEM),
    )
    yield "signature of another key", "not a signed JWT", token(other)
    yield (
        "algorithm not allowed",
        "algorithm is not allowed",
        token(RSA_KEY, "PS256", "rsa"),
    )
    yield (
        "key in the header",
        "not a signed JWT",
        token(other, header={"jwk": jwk(KEY, "ec")}),
    )
    yield (
        "key by URL",
        "key is not one",
        token(other, kid="x", header={"jku": "https://evil.example.com"}),
    )
    yield "unknown key", "key is not one", token(kid="other")
    yield "no key id", "key is not one", token(header={"kid": ""})
    yield "path as a key id", "key is not one", token(kid="../../etc/passwd")
    yield (
        "critical extension",
        "critical extension",
        token(header={"crit": ["exp"], "exp": 1}),
    )


def wrong_claims() -> Iterator[tuple[str, str, Make]]:
    """Each token is made when it is sent: what is near the present soon is not."""
    yield (
        "wrong issuer",
        "Invalid issuer",
        lambda _: token(iss="https://evil.example.com"),
    )
    yield "issuer with a slash", "Invalid issuer", lambda _: token(iss=f"{ISSUER}/")
    yield "wrong audience", "Audience", lambda _: token(aud="https://other.example.com")
    yield "no audience", '"aud"', lambda _: token(aud=None)
    yield "expired", "expired", lambda now: token(exp=now - 31)
    yield "not yet valid", "nbf", lambda now: token(nbf=now + 60)
    yield "made in the future", "iat", lambda now: token(iat=now + 60)
    yield (
        "valid for days",
        "24 hours ahead",
        lambda now: token(exp=now + 24 * 3600 + 60),
    )
    yield "valid for ever", "24 hours ahead", lambda _: token(exp=10**30)
    yield "infinite expiry", "not a signed JWT", lambda _: token(exp=float("inf"))
    yield "infinite start", "not a signed JWT", lambda _: token(nbf=float("inf"))
    yield "no expiry", '"exp"', lambda _: token(exp=None)
    yield "a text as expiry", "not a signed JWT", lambda _: token(exp="never")
    for name in ("exp", "nbf", "iat"):
        for text, value in MALFORMED_TIMES.items():
            yield f"{name} is {text}", "", partial(_with_time, name, value)
    yield "an empty subject", "sub must", lambda _: token(sub="")
    yield (
        "an extension that is no text",
        "critical extension: \\ud800",
        lambda _: forged({"alg": "ES256", "crit": ["\ud800"]}),
    )
    yield "an ID token", "typ must be", lambda _: token(typ="JWT")
    yield "no client", '"client_id"', lambda _: token(client_id=None)
    yield "a number as client", "client_id must", lambda _: token(client_id=1)
    yield "a list of scopes", "scope must", lambda _: token(scope=["users:read"])


MALFORMED_TIMES: dict[str, Callable[[int], Any]] = {
    "true": lambda _: True,
    "a text": lambda now: str(now + 60),
    "a text with marks": lambda now: f"{now:_}",
    "a list": lambda now: [now],
    "an object": lambda _: {},
}


def _with_time(name: str, value: Callable[[int], Any], now: int) -> str:
    return token(**{name: value(now)})


def malformed_tokens() -> Iterator[tuple[str, str, str]]:
    yield "oversized", "longer than", token(padding="x" * 9000)
    yield "rubbish", "not a signed JWT", "rubbish"
    yield "empty", "not a signed JWT", ""
    yield "too many parts", "not a signed JWT", token() + ".e30"
    yield "not base64", "not a signed JWT", "ä.ö.ü"
    yield (
        "deep JSON",
        "not a signed JWT",
        base64.urlsafe_b64encode(b"[" * 5000).decode() + ".e30.e30",
    )
