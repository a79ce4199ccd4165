"""Access tokens, good ones and forged ones, and an issuer that publishes their keys."""

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ISSUER, AUDIENCE = "https://issuer.example.com", "https://api.example.com"
KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
EVERYTHING = "users:read users:write users:admin"


def jwk(key: Any, kid: str, **members: str) -> dict[str, Any]:
    algorithm = jwt.get_algorithm_by_name("ES256" if key is KEY else "RS256")
    public = json.loads(algorithm.to_jwk(key.public_key()))
    return {**public, "kid": kid, "use": "sig", **members}


class Issuer:
    """Serves the key set and counts how often it is read."""

    def __init__(self) -> None:
        self.keys = [jwk(KEY, "ec"), jwk(RSA_KEY, "rsa")]
        self.reads, self.now, self.up = 0, 1_000_000.0, True

    def fetch(self) -> dict[str, Any]:
        self.reads += 1
        if not self.up:
            raise OSError("refused")
        return {"keys": self.keys}


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    every = {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "client_id": "app", "jti": "1",
        "iat": now, "exp": now + 3600, "scope": EVERYTHING, **changes,
    }  # fmt: skip
    return {name: value for name, value in every.items() if value is not None}


def token(
    key: Any = KEY, algorithm: str = "ES256", kid: Any = "ec", typ: str = "at+jwt",
    header: dict[str, Any] | None = None, **changes: Any,
) -> str:  # fmt: skip
    names = {"kid": kid, "typ": typ, **(header or {})}
    return jwt.encode(claims(**changes), key, algorithm, names)


def forged(header: dict[str, Any], secret: bytes | None = None) -> str:
    """A token assembled by hand: no library would make it."""

    def part(content: bytes) -> bytes:
        return base64.urlsafe_b64encode(content).rstrip(b"=")

    signed = (
        part(json.dumps(header).encode()) + b"." + part(json.dumps(claims()).encode())
    )
    mac = b"" if secret is None else hmac.new(secret, signed, hashlib.sha256).digest()
    return (signed + b"." + part(mac)).decode()


PEM = RSA_KEY.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)
SPKI = {"typ": "at+jwt", "kid": "rsa"}
