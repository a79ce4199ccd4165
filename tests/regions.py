"""Calls that reach the API as each Region's process would: through its local endpoint."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.db import close_old_connections, connections

from config.wsgi import application

Work = Callable[[], Any]


class Regions:
    """One thread per Region; its default connection leads to that Region's endpoint."""

    def __init__(self) -> None:
        self.pools = [
            ThreadPoolExecutor(1, initializer=_use, initargs=(alias,))
            for alias in ("default", "secondary")
        ]

    def serve(self, region: int, work: Work) -> Any:
        """Run the work in the Region (0 or 1) as a request: bad connections are closed."""
        return self.pools[region].submit(_request, work).result(timeout=60)

    def at_once(self, first: Work, second: Work) -> list[Any]:
        """Run one piece of work in each Region, started at the same moment."""
        start = threading.Barrier(2)

        def together(work: Work) -> Any:
            start.wait(timeout=30)
            return _request(work)

        waiting = [
            pool.submit(together, work)
            for pool, work in zip(self.pools, (first, second), strict=True)
        ]
        return [future.result(timeout=60) for future in waiting]


@contextmanager
def both_regions() -> Iterator[Regions]:
    regions = Regions()
    try:
        yield regions
    finally:
        for pool in regions.pools:
            pool.submit(lambda: connections["default"].close()).result(timeout=30)
            pool.shutdown()


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class _Threads(ThreadingMixIn, WSGIServer):
    """A thread for each connection, with a database connection of its own."""

    alias = "default"

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        _use(self.alias)
        try:
            super().process_request_thread(request, client_address)
        finally:
            connections["default"].close()


@contextmanager
def region_server(alias: str, *, threads: bool = False) -> Iterator[str]:
    """The API over HTTP on loopback, through the Region's endpoint; yields its URL.

    Without threads every request uses the same database connection; a browser, which
    opens connections ahead of need, needs threads.
    """
    kind = _Threads if threads else WSGIServer
    server = make_server("127.0.0.1", 0, application, kind, _Quiet)
    if isinstance(server, _Threads):
        server.alias = alias

    def serve() -> None:
        _use(alias)
        try:
            server.serve_forever(poll_interval=0.05)
        finally:
            connections["default"].close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _use(alias: str) -> None:
    connections["default"] = connections.create_connection(alias)


def _request(work: Work) -> Any:
    close_old_connections()  # Django's test client does not
    return work()
