"""Control socket for fault injection: one JSON line in, one out, over a Unix socket.

A fault is in force before the response to its request. Faults live as long as the process. The
same socket starts and reads the collection of statement shapes.
"""

import asyncio
import hashlib
import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ops.local.sandbox.collector import Collector
from ops.local.sandbox.faults import Fault, FaultError, Faults

RESPONSE_SECONDS = 10.0
MAX_PATH = 100  # bytes a socket's path may have everywhere
Json = dict[str, Any]


def socket_path(root: Path) -> Path:
    path = root.resolve() / "faults.sock"
    if len(os.fsencode(path)) <= MAX_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"dsql-faults-{digest}.sock"


class FaultServer:
    """The sandbox's side: changes the faults and lets the listener apply them."""

    def __init__(
        self,
        faults: Faults,
        apply_fault: Callable[[Fault], None],
        connections: Callable[[], Mapping[str, int]],
        collector: Collector,
    ) -> None:
        self._faults = faults
        self._collector = collector
        self._enforce = apply_fault
        self._connections = connections

    @asynccontextmanager
    async def listening(self, path: Path) -> AsyncIterator[None]:
        before = os.umask(0o177)  # its owner alone may order faults
        try:
            server = await asyncio.start_unix_server(self._respond, path)
        finally:
            os.umask(before)
        try:
            yield
        finally:
            server.close()

    async def _respond(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            response = self._do(json.loads(await reader.readline()))
        except FaultError as error:
            response = {"error": str(error)}
        except (ValueError, KeyError, TypeError) as error:
            response = {"error": f"Not a request: {error!r}"}
        writer.write(json.dumps(response).encode() + b"\n")
        writer.close()

    def _do(self, request: Json) -> Json:
        match request["do"]:
            case "add":
                added = self._faults.add(Fault.from_json(request["fault"]))
                self._enforce(added.fault)
                return {"added": added.as_json()}
            case "clear":
                return {"cleared": self._faults.clear(request["number"])}
            case "list":
                return {
                    "faults": self._faults.as_json(),
                    "connections": dict(self._connections()),
                }
            case "collect":
                self._collector.start()
                return {}
            case "shapes":
                return {"shapes": self._collector.found()}
            case "statements":
                return {"statements": self._collector.statements()}
        raise FaultError(f"Unknown request {request['do']!r}.")


class FaultClient:
    """The other side. Every method raises FaultError, also when no sandbox runs."""

    def __init__(self, root: Path) -> None:
        self._path = socket_path(root)

    def add(self, kind: str, **fields: Any) -> Json:
        """Put a fault in force; the fields are those of ``Fault``."""
        fault = {"kind": kind, **fields}
        return dict(self._request({"do": "add", "fault": fault})["added"])

    def clear(self, number: int | None = None) -> int:
        return int(self._request({"do": "clear", "number": number})["cleared"])

    def list(self) -> list[Json]:
        return list(self._request({"do": "list"})["faults"])

    def connections(self) -> dict[str, int]:
        """Open client connections by Region."""
        return dict(self._request({"do": "list"})["connections"])

    def collect(self) -> None:
        """Collect the shapes of what clients send from now on."""
        self._request({"do": "collect"})

    def shapes(self) -> Sequence[str]:
        """The shapes collected so far, in order."""
        return tuple(self._request({"do": "shapes"})["shapes"])

    def statements(self) -> Sequence[str]:
        """The statements collected so far, as they came."""
        return tuple(self._request({"do": "statements"})["statements"])

    def _request(self, request: Json) -> Json:
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(RESPONSE_SECONDS)
                client.connect(str(self._path))
                client.sendall(json.dumps(request).encode() + b"\n")
                with client.makefile() as lines:
                    response: Json = json.loads(lines.readline())
        except (OSError, ValueError) as error:
            raise FaultError(
                f"The sandbox does not respond at {self._path} ({error}); "
                f"start it: manage.py sandbox up"
            ) from error
        if "error" in response:
            raise FaultError(response["error"])
        return response
