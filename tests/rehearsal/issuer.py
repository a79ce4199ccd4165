"""An issuer of access tokens as the Internet has them: over HTTPS, with the keys to check."""

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from ops.local.issuer import AUDIENCE, Issuer
from tests.rehearsal.certificates import Certificates
from tests.rehearsal.lambda_service import QuietServer

# Resolved everywhere, by the operator's commands and by the functions.
HOST = "localhost"


@dataclass(frozen=True, slots=True)
class HttpsIssuer(Issuer):
    """The development issuer under an address that a deployment takes."""

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"


class ServedIssuer:
    """``environ`` is the operator's choice of it; ``token()`` lets its holder in."""

    def __init__(self, certificates: Certificates, folder: Path) -> None:
        documents: dict[str, bytes] = {}
        self.server = QuietServer(("127.0.0.1", 0), _handler(documents))
        self.server.socket = certificates.context(HOST).wrap_socket(
            self.server.socket, server_side=True, do_handshake_on_connect=False
        )
        port = self.server.server_address[1]
        self.issuer = HttpsIssuer.load(folder / "issuer-key.pem", int(port))
        documents.update(self.issuer.documents())
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def environ(self) -> dict[str, str]:
        return {
            "API_AUTH": "oidc",
            "OIDC_ISSUER": self.issuer.url,
            "OIDC_AUDIENCE": AUDIENCE,
        }

    def token(self, *scopes: str, minutes: int = 60) -> str:
        return self.issuer.token(
            subject="operator",
            scopes=scopes or ("users:read", "users:write"),
            minutes=minutes,
        )


def _handler(documents: dict[str, bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = documents.get(self.path, b"")
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
