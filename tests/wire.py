"""A TCP relay in front of the sandbox: counts round trips, and can cut a connection."""

import os
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Wire:
    """``round_trips``: how often the client spoke after the server had answered.

    ``cut`` ends the connection once: "request" in place of the client's next words,
    "answer" in place of the server's next ones.
    """

    port: int = 0
    round_trips: int = 0
    connections: int = 0
    cut: str = ""

    def reset(self) -> None:
        self.round_trips = 0


@contextmanager
def relay(target_port: int) -> Iterator[Wire]:
    """Relay a free port to the target while PGPORT points at it."""
    listener = socket.create_server(("127.0.0.1", 0))
    wire = Wire(port=listener.getsockname()[1])
    stop_read, stop_write = socket.socketpair()
    thread = threading.Thread(
        target=_run, args=(wire, listener, target_port, stop_read)
    )
    thread.start()
    before = os.environ.get("PGPORT")
    os.environ["PGPORT"] = str(wire.port)
    try:
        yield wire
    finally:
        if before is not None:
            os.environ["PGPORT"] = before
        stop_write.send(b"x")
        thread.join()
        for end in (listener, stop_read, stop_write):
            end.close()


def _run(
    wire: Wire, listener: socket.socket, target_port: int, stop: socket.socket
) -> None:
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(stop, selectors.EVENT_READ)
    other: dict[socket.socket, socket.socket] = {}
    clients: set[socket.socket] = set()
    answered: set[socket.socket] = set()
    while True:
        for key, _ in selector.select():
            ready = key.fileobj
            assert isinstance(ready, socket.socket)
            if ready is stop:
                for end in other:
                    end.close()
                selector.close()
                return
            if ready is listener:
                client, _address = listener.accept()
                server = socket.create_connection(("127.0.0.1", target_port))
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    selector.register(end, selectors.EVENT_READ)
                other[client], other[server] = server, client
                clients.add(client)
                answered.add(client)
                wire.connections += 1
            elif ready in other:
                _forward(wire, selector, other, clients, answered, ready)


def _forward(
    wire: Wire,
    selector: selectors.BaseSelector,
    other: dict[socket.socket, socket.socket],
    clients: set[socket.socket],
    answered: set[socket.socket],
    ready: socket.socket,
) -> None:
    try:
        data = ready.recv(1 << 16)
    except OSError:
        data = b""
    peer = other[ready]
    if wire.cut == ("request" if ready in clients else "answer"):
        data, wire.cut = b"", ""
    if not data:
        for end in (ready, peer):
            other.pop(end)
            selector.unregister(end)
            end.close()
        return
    if ready in clients:
        if ready in answered:
            answered.discard(ready)
            wire.round_trips += 1
    else:
        answered.add(peer)
    peer.sendall(data)
