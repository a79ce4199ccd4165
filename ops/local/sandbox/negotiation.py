"""What comes before TLS: the first bytes of a connection, read from its bare socket.

``start_tls`` would lose a ClientHello that arrived with them.
"""

import asyncio
import socket
import struct
from enum import Enum

from ops.local.sandbox import messages

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
HANDSHAKE_RECORD = 0x16  # the first byte of a TLS ClientHello
HTTP_METHODS = (b"G", b"P", b"D")  # the first byte of GET, POST, PUT and DELETE
MAX_CANCEL = 256  # bytes


class Next(Enum):
    """What the connection goes on with."""

    TLS = "tls"
    HTTP = "http"
    NOTHING = "nothing"


async def negotiate(connection: socket.socket) -> Next:
    """Respond to what comes before TLS; nothing of what follows is read."""
    loop = asyncio.get_running_loop()
    while True:
        first = await _peek(connection)
        if not first:
            return Next.NOTHING
        if first[0] == HANDSHAKE_RECORD:
            return Next.TLS
        if first in HTTP_METHODS:
            return Next.HTTP
        length, code = struct.unpack("!ii", await _read_exactly(connection, 8))
        if code == SSL_REQUEST:
            await loop.sock_sendall(connection, b"S")
        elif code == GSS_REQUEST:
            await loop.sock_sendall(connection, b"N")
        elif code == CANCEL_REQUEST:
            await _read_exactly(connection, max(0, min(length - 8, MAX_CANCEL)))
            return Next.NOTHING  # accepted and ignored: DSQL cannot cancel
        else:
            text = "unable to accept connection, SSL is required"
            await loop.sock_sendall(connection, messages.fatal(text))
            return Next.NOTHING


async def _peek(connection: socket.socket) -> bytes:
    """The first byte that waits, left in the socket."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            ready = loop.create_future()
            loop.add_reader(connection, _resolve, ready)
            try:
                await ready
            finally:
                loop.remove_reader(connection)


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


async def _read_exactly(connection: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size:
        more = await loop.sock_recv(connection, size - len(data))
        if not more:
            raise ConnectionResetError("ended before TLS")
        data += more
    return data
