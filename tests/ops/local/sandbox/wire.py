"""PostgreSQL's protocol spoken by hand over TLS, as no driver would."""

import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from config.dsql.credentials import Credentials
from config.dsql.tokens import Endpoint, sign
from ops.local.sandbox import lifecycle, messages
from ops.local.sandbox.messages import Framer, message
from tests.ops.local.sandbox.upstream import shown

SECONDS = 15.0  # that an answer may take: it never comes later


class Wire:
    """One session; ``send`` returns what comes up to a ReadyForQuery."""

    def __init__(self, status: lifecycle.Status) -> None:
        region, keys = status.regions[0], status.credentials
        raw = socket.create_connection((lifecycle.HOST, status.port), timeout=SECONDS)
        raw.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")
        if raw.recv(1) != b"S":
            raise ConnectionError("no TLS")
        context = ssl.create_default_context(cafile=str(status.sslrootcert))
        self._socket = context.wrap_socket(raw, server_hostname=region.endpoint)
        self._framer = Framer()
        endpoint = Endpoint(region.endpoint, region.region, "admin")
        credentials = Credentials(
            keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]
        )
        token = sign(endpoint, credentials).encode()
        login = messages.startup({"user": "admin", "database": "postgres"})
        self.send(login, message(b"p", token + b"\0"))

    def send(self, *sent: bytes, show: Callable[[bytes], str] = shown) -> list[str]:
        """Each message that comes back: its type, then tag, status or error."""
        self._socket.sendall(b"".join(sent))
        lines: list[str] = []
        while not lines or lines[-1][0] != "Z":
            lines += [
                show(whole)
                for kind, whole in self._framer.feed(self._receive())
                if kind not in b"NSRK"
            ]
        return lines

    def _receive(self) -> bytes:
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the sandbox has ended the connection")
        return data

    def query(self, sql: str) -> list[str]:
        """Repeated when the catalog has changed, which other tests cause."""
        while True:
            lines = self.send(messages.query(sql))
            if not any("(OC001)" in line for line in lines):
                return lines

    def close(self) -> None:
        self._socket.close()


@contextmanager
def opened(status: lifecycle.Status) -> Iterator[Wire]:
    wire = Wire(status)
    try:
        yield wire
    finally:
        wire.close()


def seed() -> int:
    return int(os.environ.get("FUZZ_SEED", "20261128"))
