"""A server on a free port, and clients that send it bytes as they please."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any

from django.http import HttpResponse, StreamingHttpResponse
from waitress import wasyncore

from ops.local import http_server
from ops.local.http_server import Server

SECONDS = 20.0
Environ = dict[str, Any]


class ThreadedServer(ThreadingMixIn, Server):
    """As runserver makes it."""


@contextmanager
def serving(
    application: http_server.Application, kind: type[Server] = ThreadedServer
) -> Iterator[int]:
    server = kind(("127.0.0.1", 0))
    server.set_app(application)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.task_dispatcher.shutdown()  # else a thread may still wake the loop
        # The loop ends when it has nothing left to listen to.
        server.trigger.pull_trigger(lambda: wasyncore.close_all(server._map))
        thread.join(SECONDS)
        assert not thread.is_alive()


def broken(parts: list[bytes]) -> Iterator[bytes]:
    yield from parts
    raise RuntimeError("half-way")


class Echo:
    """Answers with what reached it; some paths answer in a way of their own."""

    def __init__(self) -> None:
        self.seen: list[Environ] = []
        self.release = threading.Event()

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Any:
        self.seen.append(environ)
        response = self.respond(environ)
        status = f"{response.status_code} {response.reason_phrase}"
        start_response(status, list(response.items()))
        return response

    def respond(self, environ: Environ) -> Any:
        match environ["PATH_INFO"]:
            case "/204":
                return HttpResponse(status=204)
            case "/304":
                return HttpResponse(status=304, headers={"ETag": '"1"'})
            case "/stream":
                return StreamingHttpResponse([b"one\n", b"two\n"])
            case "/broken":
                return StreamingHttpResponse(broken([b"one\n"]))
            case "/broken-at-once":
                return StreamingHttpResponse(broken([]))
            case "/slow":
                assert self.release.wait(SECONDS)
        return HttpResponse(environ["wsgi.input"].read() or b"nothing")


def exchange(port: int, *parts: bytes) -> bytes:
    """Everything that comes back for these bytes, after which the client is done."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
        for part in parts:
            client.sendall(part)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))


def problem(response: bytes, status: int = 400) -> dict[str, Any]:
    """The problem document of the one response, after which nothing follows."""
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.split(b" ", 2)[1] == str(status).encode()
    lines = head.lower().split(b"\r\n")
    assert b"content-type: application/problem+json" in lines
    assert b"connection: close" in lines
    assert f"content-length: {len(body)}".encode() in lines
    assert any(line.startswith(b"x-served-by-region:") for line in lines)
    document = json.loads(body)
    assert document["status"] == status
    return dict(document)
