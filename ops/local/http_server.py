"""The local HTTP server: waitress, adapted to treat requests as API Gateway does.

A request reaches Django whole and well formed, or not at all; what is refused here gets a
problem document like any other. Repeated headers are joined with ", " as on Lambda.
"""

import logging
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import Any

from django.db import connections
from django.http import HttpResponse
from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import (
    BadRequest,
    RequestEntityTooLarge,
    RequestHeaderFieldsTooLarge,
)

from config.api import problems
from config.api.region import serving_region
from ops.local.ports import MAX_PORT

logger = logging.getLogger(__name__)
# Requests at once. A thread keeps its database connection, and PostgreSQL takes 400.
MOST_THREADS = 100
MOST_CONNECTIONS = 1000
MOST_BODY_BYTES = 100_000_000  # they go to a file; Django's own limits are far below
REQUEST_SECONDS = 20.0  # without another byte of a request that has begun
LINGER_SECONDS = 2.0  # for a refused client to read why
KEEP_ALIVE_SECONDS = 120
IDLE_SECONDS = 15.0  # of a thread
CLEANUP_SECONDS = 5  # between looks at both
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends RST, not FIN
SUBJECTS = {  # of what waitress says about these
    RequestEntityTooLarge: "The body ",
    RequestHeaderFieldsTooLarge: "The header ",
}
Application = Callable[[dict[str, Any], Callable[..., Any]], Any]


class Parser(HTTPRequestParser):
    """Refuses requests that two parsers could read differently."""

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError as error:  # of int() and urlsplit(): waitress would hang up
            raise ParsingError("The request target or a length is malformed") from error
        if self.proxy_scheme:  # RFC 9112, section 3.2.2: its host counts, not Host
            self.headers["HOST"] = self.proxy_netloc
        if "TRANSFER_ENCODING" in self.headers:  # waitress takes it from HTTP/1.1 only
            raise ParsingError("Transfer-Encoding needs HTTP/1.1")
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            raise ParsingError(
                "Transfer-Encoding and Content-Length exclude each other"
            )


class RequestTask(WSGITask):
    """One request; its connection stays open when the client can see where the response ends."""

    def set_close_on_finish(self) -> None:
        ends_visibly = self.chunked_response or not self.has_body
        asked = self.request.headers.get("CONNECTION", "").lower()
        if self.version == "1.1" and asked != "close" and ends_visibly:
            return  # waitress closes after every response without a Content-Length
        super().set_close_on_finish()

    def write(self, data: bytes) -> None:
        super().write(b"" if self.request.command == "HEAD" else data)

    def finish(self) -> None:
        if not self.wrote_header:
            self.write(b"")
        if self.request.command != "HEAD":
            super().finish()

    def service(self) -> None:
        """Unlike waitress, log no path: it may hold the id of a user."""
        try:
            super().service()
        except ClientDisconnected:
            self.close_on_finish = True
        except Exception:
            logger.exception("A response failed")
            if self.wrote_header:
                self._abort_response()
            else:
                send_problem(
                    self, "internal_error", "The request failed; it was logged."
                )

    def _abort_response(self) -> None:
        """End the connection so that the client sees that the response is incomplete."""
        self.close_on_finish = True
        if not self.chunked_response and self.content_length is None:
            # The end of the connection would be the end of the response.
            self.channel.aborted = True
            with suppress(OSError):  # it is closed already
                self.channel.socket.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, RESET
                )


class RefusalTask(ErrorTask):
    """A request that never reaches Django."""

    def execute(self) -> None:
        error = self.request.error
        # What was sent may be secret; waitress quotes it.
        cause = SUBJECTS.get(type(error), "") + error.body.partition(' "')[0].rstrip(
            "."
        )
        logger.warning("A request was refused: %s", cause)
        large = isinstance(error, RequestEntityTooLarge)
        send_problem(self, "too_large" if large else "malformed", f"{cause}.")


def send_problem(task: Any, code: str, detail: str) -> None:
    """Respond with a problem document and end the connection."""
    response = problems.respond(problems.Problem(code, detail))
    response["X-Served-By-Region"] = serving_region()
    task.complete = True
    task.status = f"{response.status_code} {response.reason_phrase}"
    task.response_headers = list(response.items())
    task.set_close_on_finish()
    task.content_length = len(response.content)
    task.write(response.content)


class Channel(HTTPChannel):
    """A connection; a request that breaks off still gets a response."""

    request: HTTPRequestParser | None  # what has come of the next one
    aborted = False  # a response broke off, and only a reset can say so
    lingers = False  # one's own side is closed
    parser_class = Parser
    task_class = RequestTask
    error_task_class = RefusalTask

    def handle_write(self) -> None:
        ended = self.close_when_flushed and not self.total_outbufs_len
        if ended and not self.aborted:
            self._linger()
        else:
            super().handle_write()

    def _linger(self) -> None:
        """Close the local side first.

        To close both while the client still sends resets the connection, and may take
        the response back from the client.
        """
        self.close_when_flushed = False
        self.lingers = True
        self.last_activity = time.time()
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.handle_close()

    def readable(self) -> bool:
        return self.lingers or bool(super().readable())

    def handle_read(self) -> None:
        if self.lingers:
            self.recv(self.adj.recv_bytes)  # closes when the client has closed
        elif self.request is not None and self._client_is_done():
            self.refuse_rest("The request ended before its length was reached")
        else:
            super().handle_read()

    def _client_is_done(self) -> bool:
        """Whether the client sends no more; it may still wait for the response."""
        try:
            return not self.socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return False

    def refuse_rest(self, detail: str) -> None:
        """Respond to a request that has begun and will not be completed."""
        with self.requests_lock:
            request, self.request = self.request, None
            if request is None:
                return
            request.error = BadRequest(detail)
            self.requests.append(request)
            self.server.add_task(self)

    def expire(self, now: float) -> None:
        """End requests that make no progress; called every few seconds."""
        idle = now - self.last_activity
        if self.lingers and idle > LINGER_SECONDS:
            self.will_close = True
        elif self.request and not self.requests and idle > REQUEST_SECONDS:
            self.refuse_rest(f"Nothing came for {REQUEST_SECONDS:.0f} s")


class Dispatcher(ThreadedTaskDispatcher):
    """Starts a thread when all are busy, so that no request waits for a slow one.

    A thread that has been idle for a while ends, and its database connection with it.
    """

    active_count: int
    stop_count: int

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._growing = threading.Lock()

    def add_task(self, task: Any) -> None:
        with self._growing:
            with self.lock:
                self.queue.append(task)
                self.queue_cv.notify()
                count = len(self.threads) - self.stop_count
                short = len(self.queue) > count - self.active_count
            if short and count < self._most:
                self.set_thread_count(count + 1)

    def handler_thread(self, thread_no: int) -> None:
        try:
            while (task := self._next_task(thread_no)) is not None:
                try:
                    task.service()
                except Exception:
                    logger.exception("A request failed outside of its response")
        finally:
            connections.close_all()

    def _next_task(self, thread_no: int) -> Any:
        """The next task, or None for a thread that has to end."""
        with self.lock:
            self.active_count -= 1
            self.queue_cv.wait_for(lambda: self.queue or self.stop_count, IDLE_SECONDS)
            if self.queue and not self.stop_count:
                self.active_count += 1
                return self.queue.popleft()
            self.stop_count = max(0, self.stop_count - 1)
            self.threads.discard(thread_no)
            self.thread_exit_cv.notify()
            return None


class CompleteResponse:
    """A response in one part, from which the server learns its length."""

    def __init__(self, response: HttpResponse) -> None:
        self._response = response

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[bytes]:
        yield self._response.content

    def close(self) -> None:
        self._response.close()


class Server(TcpWSGIServer):
    """Has the methods of Django's WSGIServer that runserver calls."""

    channel_class = Channel

    def __init__(
        self, address: tuple[str, int], handler: object = None, *, ipv6: bool = False
    ) -> None:
        host, port = address
        if not 0 <= port <= MAX_PORT:  # waitress would take another one
            raise OSError(f"{port} is not a port.")
        try:
            super().__init__(
                self._respond,
                dispatcher=Dispatcher(MOST_THREADS if self._is_threaded() else 1),
                host=host,
                port=port,
                backlog=MOST_CONNECTIONS,
                connection_limit=MOST_CONNECTIONS,
                channel_timeout=KEEP_ALIVE_SECONDS,
                cleanup_interval=CLEANUP_SECONDS,
                max_request_body_size=MOST_BODY_BYTES,
                asyncore_use_poll=True,
                ident=None,
            )
        except ValueError:  # what waitress makes of an unknown name
            raise OSError(f"There is no address {host!r}.") from None
        self._application: Application | None = None

    def _is_threaded(self) -> bool:
        """runserver mixes this in unless it got --nothreading."""
        return isinstance(self, ThreadingMixIn)

    @property
    def server_port(self) -> int:
        return int(self.effective_port)

    def set_app(self, application: Application) -> None:
        self._application = application

    def serve_forever(self) -> None:
        """Serve until SIGINT; then current requests have five seconds to end."""
        self.run()

    def maintenance(self, now: float) -> None:
        for channel in list(self.active_channels.values()):
            channel.expire(now)
        super().maintenance(now)

    def _respond(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Any:
        assert self._application is not None  # noqa: S101 - runserver sets it first
        response = self._application(environ, start_response)
        return response if response.streaming else CompleteResponse(response)
