"""JSON over HTTP(S) within one deadline, however slowly the other side speaks."""

import io
import json
import socket
import ssl
import time
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import SplitResult, urlsplit

FETCH_SECONDS = 3.0
MAX_DOCUMENT_BYTES = 256 * 1024
PORTS = {"https": 443, "http": 80}


class Deadline:
    """A moment by which everything must be done."""

    def __init__(self, seconds: float = FETCH_SECONDS) -> None:
        self._ends = time.monotonic() + seconds

    def left(self) -> float:
        """The remaining seconds. Raises TimeoutError when none remain."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for all of it is over")
        return left


class _BoundedReader(io.RawIOBase):
    """What a socket receives; its own timeout would start again with each byte."""

    def __init__(
        self, raw: io.RawIOBase, sock: socket.socket, deadline: Deadline
    ) -> None:
        self._raw, self._sock, self._deadline = raw, sock, deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._deadline.left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def read_json(url: str, deadline: Deadline | None = None) -> dict[str, Any]:
    """A JSON object; redirects are not followed. Raises OSError, HTTPException, ValueError."""
    parts, deadline = urlsplit(url), deadline or Deadline()
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(f"{url!r} is not an HTTP URL")
    with _connect(parts, deadline) as sock:
        status, content = _get(parts, sock, deadline)
    if status != 200:
        raise ValueError(f"{url} returned status {status}")
    if len(content) > MAX_DOCUMENT_BYTES:
        raise ValueError(f"{url} is larger than {MAX_DOCUMENT_BYTES} bytes")
    document = json.loads(content)
    if not isinstance(document, dict):
        raise ValueError(f"{url} is not a JSON object")  # noqa: TRY004 - remote input
    return document


def _get(
    parts: SplitResult, sock: socket.socket, deadline: Deadline
) -> tuple[int, bytes]:
    host = parts.netloc.rpartition("@")[2]
    connection = HTTPConnection(host)
    connection.sock = sock
    connection.response_class = lambda *args, **kwargs: _Response(  # type: ignore[assignment]  # a factory is enough
        deadline, *args, **kwargs
    )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Host": host, "Accept": "application/json", "Connection": "close"}
    connection.request("GET", target, headers=headers)
    with connection.getresponse() as response:
        return response.status, response.read(MAX_DOCUMENT_BYTES + 1)


class _Response(HTTPResponse):
    def __init__(self, deadline: Deadline, sock: socket.socket, **kwargs: Any) -> None:
        super().__init__(sock, **kwargs)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_BoundedReader(raw, sock, deadline))


def _connect(parts: SplitResult, deadline: Deadline) -> socket.socket:
    """A connection, encrypted for https, to the first address that accepts one."""
    host, port = str(parts.hostname), parts.port or PORTS[parts.scheme]
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failed: OSError | None = None
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        sock = socket.socket(family, kind, protocol)
        try:
            # Each has its share, so that one that is silent leaves time for the others.
            sock.settimeout(deadline.left() / (len(addresses) - number))
            sock.connect(address)
            sock.settimeout(deadline.left())
            if parts.scheme == "https":
                context = ssl.create_default_context()
                return context.wrap_socket(sock, server_hostname=host)
        except OSError as error:
            sock.close()
            failed = error
        else:
            return sock
    raise failed or OSError(f"{host} has no address")
