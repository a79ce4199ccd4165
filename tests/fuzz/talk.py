"""Two ends for one conversation: the sandbox, and the PostgreSQL behind it."""

import socket
from typing import Protocol

from ops.local.sandbox import lifecycle, messages
from ops.local.sandbox.messages import Framer
from ops.local.sandbox.postgres import SUPERUSER, Postgres
from tests.ops.local.sandbox.wire import SECONDS, Wire

UNSOLICITED = b"NSRK"  # notices, parameters, the login


class End(Protocol):
    def say(self, *sent: bytes) -> list[str]:
        """What comes back up to a ReadyForQuery, rows and descriptions included."""

    def close(self) -> None: ...


class Sandbox(Wire):
    def say(self, *sent: bytes) -> list[str]:
        return self.send(*sent, show=normal)


class Plain:
    """A database of its own, straight at PostgreSQL."""

    def __init__(self, status: lifecycle.Status, database: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(SECONDS)
        self._socket.connect(Postgres(status.root).socket_path)
        self._framer = Framer()
        self.say(messages.startup({"user": SUPERUSER, "database": database}))

    def say(self, *sent: bytes) -> list[str]:
        self._socket.sendall(b"".join(sent))
        lines: list[str] = []
        while not lines or lines[-1][0] != "Z":
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionError("PostgreSQL has ended the connection")
            lines += [
                normal(whole)
                for kind, whole in self._framer.feed(data)
                if kind not in UNSOLICITED
            ]
        return lines

    def close(self) -> None:
        self._socket.close()


def normal(whole: bytes) -> str:
    """A message as text that is the same from both ends."""
    kind = chr(whole[0])
    if kind == "E":
        fields = messages.error_fields(whole)
        return f"E {fields['C']} {fields['M']}"
    if kind in "CZ":
        return f"{kind} {whole[5:].rstrip(bytes(1)).decode()}"
    if kind == "T":
        return f"T {_columns(whole)}"
    return f"{kind} {whole[5:].hex()}" if kind in "Dt" else kind


def _columns(whole: bytes) -> list[tuple[str, int]]:
    found, at = [], 7
    for _ in range(int.from_bytes(whole[5:7], "big")):
        name, at = messages.cstring(whole, at)
        found.append((name, int.from_bytes(whole[at + 6 : at + 10], "big")))
        at += 18
    return found
