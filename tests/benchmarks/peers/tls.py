"""PostgreSQL itself over TLS on loopback: nothing in between looks at a message.

The embedded PostgreSQL is built without TLS, and the sandbox in front of it judges every
statement, which takes longer than PostgreSQL does; a client whose caches went cold while it
waited spends more. So TLS ends here, and bytes go on to PostgreSQL's socket as they come.
"""

import select
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from ops.local.sandbox.lifecycle import Status
from ops.local.sandbox.postgres import Postgres
from ops.paths import PROJECT

MODULE = "tests.benchmarks.peers.tls"
HOST = "127.0.0.1"
SSL_REQUEST = bytes.fromhex("0000000804d2162f")  # PostgreSQL documentation, 55.7
MOST = 1 << 16


@contextmanager
def serving(status: Status) -> Iterator[Status]:
    """The sandbox's PostgreSQL by a port of its own, in a process of its own."""
    certificate = str(status.root / "tls" / "server.pem")
    socket_path = Postgres(status.root).socket_path
    command = [sys.executable, "-m", MODULE, certificate, socket_path]
    with subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield replace(status, port=int(process.stdout.readline()))
        finally:
            process.terminate()


def main(certificate: str, socket_path: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server((HOST, 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            work = (client, context, socket_path)
            threading.Thread(target=relay, args=work, daemon=True).start()


def relay(client: socket.socket, context: ssl.SSLContext, socket_path: str) -> None:
    """Until either side is gone."""
    with suppress(OSError), client, socket.socket(socket.AF_UNIX) as server:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if client.recv(len(SSL_REQUEST), socket.MSG_WAITALL) != SSL_REQUEST:
            return
        client.sendall(b"S")
        server.connect(socket_path)
        with context.wrap_socket(client, server_side=True) as encrypted:
            pass_on(encrypted, server)


def pass_on(encrypted: ssl.SSLSocket, server: socket.socket) -> None:
    other: dict[socket.socket, socket.socket] = {encrypted: server, server: encrypted}
    while True:
        waiting = [encrypted] if encrypted.pending() else []
        for ready in waiting or select.select([*other], [], [])[0]:
            if not (content := ready.recv(MOST)):
                return
            other[ready].sendall(content)


if __name__ == "__main__":
    main(*sys.argv[1:])
