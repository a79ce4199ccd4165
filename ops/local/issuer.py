"""A development issuer: makes access tokens and serves its public key on loopback.

The API checks its tokens as it checks those of any other issuer; only OIDC_ISSUER and
OIDC_AUDIENCE differ.
"""

import json
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ops.files import write_private

HOST, PORT = "127.0.0.1", 8002
AUDIENCE = "users-api"
KEY_ID = "development"
CLIENT_ID = "manage.py"


@dataclass(frozen=True, slots=True)
class Issuer:
    """The key, kept in a file so that tokens outlive a restart, and the port."""

    key: ec.EllipticCurvePrivateKey
    port: int = PORT

    @classmethod
    def load(cls, path: Path, port: int = PORT) -> "Issuer":
        """Read the key, or create it on the first call."""
        if not path.exists():
            made = ec.generate_private_key(ec.SECP256R1())
            pem = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            path.parent.mkdir(parents=True, exist_ok=True)
            write_private(path, pem.decode())
        key = load_pem_private_key(path.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{path} is not an elliptic curve key: remove it.")
        return cls(key, port)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def environ(self) -> dict[str, str]:
        """The variables of a server that accepts tokens of this issuer."""
        return {
            "API_AUTH": "oidc",
            "OIDC_ISSUER": self.url,
            "OIDC_AUDIENCE": AUDIENCE,
            "OIDC_JWKS_URL": "",
        }

    def token(self, *, subject: str, scopes: Sequence[str], minutes: int) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": subject,
            "client_id": CLIENT_ID,
            "jti": str(uuid.uuid4()),
            "iat": now,
            "exp": now + 60 * minutes,
            "scope": " ".join(scopes),
        }
        header = {"kid": KEY_ID, "typ": "at+jwt"}
        return jwt.encode(claims, self.key, "ES256", header)

    def documents(self) -> dict[str, bytes]:
        """The served documents by path: metadata (RFC 8414) and keys (RFC 7517)."""
        public = json.loads(
            jwt.get_algorithm_by_name("ES256").to_jwk(self.key.public_key())
        )
        keys = [{**public, "kid": KEY_ID, "use": "sig", "alg": "ES256"}]
        metadata = {"issuer": self.url, "jwks_uri": f"{self.url}/jwks.json"}
        return {
            "/.well-known/openid-configuration": json.dumps(metadata).encode(),
            "/jwks.json": json.dumps({"keys": keys}).encode(),
        }


@contextmanager
def serving(issuer: Issuer) -> Iterator[Issuer]:
    """Serve on loopback; with port 0 on a free port, which the yielded issuer names.

    Raises OSError when the port is taken.
    """
    documents: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = documents.get(self.path)
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing: the lines of the API say what happens."""

    server = ThreadingHTTPServer((HOST, issuer.port), Handler)
    served = replace(issuer, port=server.server_port)
    documents.update(served.documents())
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
