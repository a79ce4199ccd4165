"""The listener: TLS by SNI, login by token, then bytes between client and session.

The only asyncio in the sandbox. A connection goes through three protocols: Negotiation
peeks at the first bytes of the socket (``start_tls`` would lose a ClientHello that
arrived with them), Client speaks over TLS, Upstream is its PostgreSQL connection.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from weakref import WeakKeyDictionary

import psycopg

from ops.local.sandbox import messages, tokens
from ops.local.sandbox.clusters import region_of
from ops.local.sandbox.collector import Collector
from ops.local.sandbox.control import Control
from ops.local.sandbox.control_server import ControlServer
from ops.local.sandbox.faults import AT_ONCE, FOREVER, ClientFaults, Fault, Faults
from ops.local.sandbox.jobs import Worker
from ops.local.sandbox.peers import Peers
from ops.local.sandbox.rules.settings import SETTINGS, refused_at_startup
from ops.local.sandbox.session import Session
from ops.local.sandbox.tokens import Key, TokenRefused

logger = logging.getLogger(__name__)

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
PROTOCOL_3 = 3
HANDSHAKE_SECONDS = 10.0
LOGIN_SECONDS = 10.0
LONGEST_SLEEP = 0.1  # seconds until a changed delay of jobs is seen
LONGEST_SILENCE = 1.0  # seconds until a job that nobody announced is seen
HANDSHAKE_RECORD = 0x16  # the first byte of a TLS ClientHello
HTTP_METHODS = (b"G", b"P", b"D")  # the first byte of GET, POST, PUT and DELETE
DENIED = "unable to accept connection, access denied"
NO_SNI = "unable to accept connection, sni was not received"
CONNECTION_FAILURE = "08006"  # what a cluster refuses logins with
HIGH_WATER = 1 << 20  # bytes buffered to one side before the other is paused


@dataclass(frozen=True, slots=True)
class Backend:
    """What the listener needs to know: the clusters, the keys and PostgreSQL."""

    context: Callable[[tuple[str, ...]], ssl.SSLContext]  # of these endpoints
    clusters: Control
    api: ControlServer
    find_key: Callable[[str], Key | None]
    may_be: Callable[[str, str], bool]  # (ARN, role): whether the mapping allows it
    socket_path: str


def fatal(text: str, *, sqlstate: str = CONNECTION_FAILURE, hint: str = "") -> bytes:
    return messages.error(sqlstate, text, severity="FATAL", hint=hint)


class HandedOver(Exception):
    """The connection speaks HTTP and belongs to the control plane from now on."""


class Server:
    """Listens on 127.0.0.1; ``serve`` runs until cancelled."""

    def __init__(self, backend: Backend, listener: socket.socket) -> None:
        self.backend = backend
        self.listener = listener
        self.faults = Faults()
        self.collector = Collector()
        self.clients: set[Client] = set()
        self._submitted = asyncio.Event()
        self.peers = Peers(self._submitted.set)
        self.names: WeakKeyDictionary[ssl.SSLObject, str | None] = WeakKeyDictionary()
        self._context = self._routing_context()
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        self.listener.setblocking(False)
        while True:
            connection, _ = await loop.sock_accept(self.listener)
            task = loop.create_task(self._accept(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def cut_refused(self) -> None:
        """End the connections to clusters that serve no longer."""
        for client in list(self.clients):
            if client.name and self.backend.clusters.refusal(client.name):
                client.transport.close()

    async def work(self, worker: Worker) -> None:
        """Run jobs when they are due; runs until cancelled."""
        self.peers.submit(await asyncio.to_thread(worker.unfinished), None)
        while True:
            self._submitted.clear()
            due = await asyncio.to_thread(worker.next)
            if due is None:
                # A client that is lost while its transaction commits announces no job.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LONGEST_SILENCE):
                        await self._submitted.wait()
            elif due.seconds > 0:
                await asyncio.sleep(min(due.seconds, LONGEST_SLEEP))
            elif await asyncio.to_thread(worker.run, due.job):
                self.peers.end_job(due.job, changes_catalog=due.changes_catalog)
            else:
                self.peers.free_locks(None, tables=True)

    def enforce(self, fault: Fault) -> None:
        """Let a new fault strike what is already open."""
        for client in list(self.clients):
            if not fault.concerns(client.faults.region, client.faults.client):
                continue
            if client.is_silent:
                continue  # whose client would not hear of the end either
            if fault.kind in AT_ONCE:
                client.cut()
            elif fault.kind == "session-end" and client.session is not None:
                client.end_after(fault.seconds)

    def connections(self) -> dict[str, int]:
        """Open connections by Region; every Region with a cluster is named."""
        counts = Counter(client.faults.region for client in self.clients)
        regions = {region_of(host) for host in self.backend.clusters.hosts()}
        return {region: counts[region] for region in sorted(filter(None, regions))}

    async def _accept(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                if await self._negotiate(connection):
                    await self._speak_tls(connection)
                    return
        except HandedOver:
            return
        except (OSError, TimeoutError) as error:
            logger.debug("connection ended in its handshake: %s", error)
        connection.close()

    async def _negotiate(self, connection: socket.socket) -> bool:
        """Answer what comes before TLS; True when a ClientHello is next."""
        loop = asyncio.get_running_loop()
        while True:
            first = await _peek(connection)
            if not first:
                return False
            if first[0] == HANDSHAKE_RECORD:
                return True
            if first in HTTP_METHODS:
                self.backend.api.serve(connection)
                raise HandedOver
            length, code = struct.unpack("!ii", await _exactly(connection, 8))
            if code == SSL_REQUEST:
                await loop.sock_sendall(connection, b"S")
            elif code == GSS_REQUEST:
                await loop.sock_sendall(connection, b"N")
            elif code == CANCEL_REQUEST:
                await _exactly(connection, max(0, min(length - 8, 256)))
                return False  # accepted and ignored: DSQL has no cancel
            else:
                text = "unable to accept connection, SSL is required"
                await loop.sock_sendall(connection, fatal(text))
                return False

    async def _speak_tls(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(
            lambda: Client(self), connection, ssl=self._context
        )

    def _routing_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["postgresql"])

        def route(tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            self.names[tls] = name
            hosts = self.backend.clusters.hosts()
            tls.context = self.backend.context(tuple(sorted(hosts)))

        context.sni_callback = route
        return context


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


async def _exactly(connection: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size:
        more = await loop.sock_recv(connection, size - len(data))
        if not more:
            raise ConnectionResetError("ended before TLS")
        data += more
    return data


class Client(asyncio.Protocol):
    """A client over TLS: login first, then its session."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name: str | None = None
        self.upstream: Upstream | None = None
        self.session: Session | None = None
        self._buffer = b""
        self._parameters: dict[str, str] = {}
        self._greeted = self._silent = False
        self.faults = ClientFaults(server.faults)
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._admitted = self._held_until = 0.0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TLS over TCP
        self.transport = transport
        self.name = self.server.names.get(transport.get_extra_info("ssl_object"))
        self.faults.region = region_of(self.name or "") or ""
        transport.set_write_buffer_limits(HIGH_WATER)
        self.server.clients.add(self)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LOGIN_SECONDS, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._silent = self._silent or self.faults.silent()
        if self._silent:
            return
        if self.session is not None:
            self._receive(self.session, data)
            return
        self._buffer += data
        if len(self._buffer) > messages.MAX_STARTUP:
            self.transport.abort()
        elif self._task is None:
            self._log_in()

    def _receive(self, session: Session, data: bytes) -> None:
        """Hand it to the session: now, or in order after the latency of a fault."""
        loop = asyncio.get_running_loop()
        delay, now = self.faults.statement_delay(), loop.time()
        if delay or self._held_until > now:
            self._held_until = max(self._held_until + 1e-6, now + delay)
            loop.call_at(self._held_until, self._deliver, session, data)
        else:
            self._deliver(session, data)

    def _deliver(self, session: Session, data: bytes) -> None:
        if self.session is session:
            session.receive_from_client(data)
            self.flush()

    def end_after(self, seconds: float) -> None:
        """End the connection when its login is so many seconds ago."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._admitted + seconds, self.transport.abort)

    def cut(self) -> None:
        """End the connection before this returns: ``abort`` alone does it a bit later."""
        connection = self.transport.get_extra_info("socket")
        self.server.clients.discard(self)
        self.transport.abort()
        if connection is not None:  # else it is gone already
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def is_silent(self) -> bool:
        return self._silent or (self.session is not None and self.session.silent)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.clients.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        # Both know this client: a circle would keep the 256 KiB that asyncio reads TLS
        # into until the garbage collector comes by.
        if self.session is not None:
            self.server.peers.leave(self.session)
            self.session = None
        if self.upstream is not None:
            self.upstream.end()
            self.upstream = None

    def pause_writing(self) -> None:
        if self.upstream is not None:
            self.upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.upstream is not None:
            self.upstream.transport.resume_reading()

    # Login

    def _log_in(self) -> None:
        if not self._greeted:
            payload = self._take(0)
            if payload is not None:
                self._greet(payload)
        if self._greeted and self._task is None:
            payload = self._take(1)
            if payload is not None:
                token = messages.cstring(payload + b"\0")[0]
                self._task = asyncio.get_running_loop().create_task(self._admit(token))

    def _take(self, at: int) -> bytes | None:
        """The payload of the waiting message, whose length stands at ``at``."""
        if len(self._buffer) < at + 4:
            return None
        length = int.from_bytes(self._buffer[at : at + 4], "big")
        if not 4 <= length <= messages.MAX_STARTUP:
            self.transport.abort()
            return None
        if len(self._buffer) < at + length:
            return None
        payload = self._buffer[at + 4 : at + length]
        self._buffer = self._buffer[at + length :]
        return payload

    def _greet(self, payload: bytes) -> None:
        version = int.from_bytes(payload[:2], "big")
        self._parameters = messages.startup_parameters(payload[4:])
        self.faults.client = self._parameters.get("application_name", "")
        if not self.name:
            self._refuse(fatal(NO_SNI))
        elif hint := self.server.backend.clusters.refusal(self.name):
            self._refuse(fatal(DENIED, hint=hint))
        elif version != PROTOCOL_3:
            self._refuse(fatal("unsupported frontend protocol", sqlstate="0A000"))
        elif self._parameters.get("database", "postgres") != "postgres":
            name = self._parameters["database"]
            text = f'database "{name}" does not exist'
            self._refuse(fatal(text, sqlstate="3D000"))
        elif refusal := refused_at_startup(self._parameters):
            self._refuse(fatal(refusal.message, sqlstate=refusal.sqlstate))
        else:
            self._greeted = True
            self.transport.write(messages.message(b"R", struct.pack("!i", 3)))

    def _refuse(self, error: bytes) -> None:
        self.transport.write(error)
        self.transport.close()

    async def _admit(self, token: str) -> None:
        role = self._parameters.get("user", "admin")
        if await self._struck():
            return
        loop = asyncio.get_running_loop()
        session = Session(
            time.monotonic,
            self.server.peers,
            self.faults,
            wake=self.flush,
            observe=self.server.collector.add,
        )
        try:
            await self._authenticate(role, token)
            _, upstream = await loop.create_unix_connection(
                lambda: Upstream(self), self.server.backend.socket_path
            )
        except TokenRefused as refused:
            logger.info("refused %s at %s: %s", role, self.name, refused)
            self._refuse(fatal(DENIED, hint=str(refused)))
            return
        except (OSError, psycopg.Error) as error:
            logger.info("PostgreSQL does not answer: %s", error)
            self._refuse(fatal("server unavailable", sqlstate="XX000"))
            return
        if self.transport.is_closing():
            upstream.end()
            return
        if self._timer is not None:
            self._timer.cancel()
        self._admitted = loop.time()
        if (seconds := self.faults.session_end()) != FOREVER:
            self.end_after(seconds)
        self.session, self.upstream = session, upstream
        self.server.peers.sessions.add(session)
        passed = {
            name: value
            for name, value in self._parameters.items()
            if name.lower() in SETTINGS | {"options"}
        }
        session.begin(messages.startup({"user": role, "database": "postgres"} | passed))
        session.receive_from_client(self._buffer)
        self._buffer = b""
        self.flush()

    async def _struck(self) -> bool:
        """Whether a fault ended the login; a latency passes first."""
        if delay := self.faults.connect_delay():
            await asyncio.sleep(delay)
        if self.faults.refuses():
            self.transport.abort()
        elif found := self.faults.fatal():
            self._refuse(fatal(found.message, sqlstate=found.sqlstate, hint=found.hint))
        return self.transport.is_closing()

    async def _authenticate(self, role: str, token: str) -> None:
        backend = self.server.backend
        host = self.name or ""
        key = tokens.verify(
            token,
            host=host,
            region=region_of(host) or "",
            user=role,
            find_key=backend.find_key,
            now=datetime.now(UTC),
        )
        if role != "admin" and not await asyncio.to_thread(
            backend.may_be, key.arn, role
        ):
            raise TokenRefused(
                f"User: {key.arn} is not authorized to access this resource"
            )
        backend.clusters.connected(host)

    # Session

    def flush(self) -> None:
        """Send what the session has for both sides."""
        session, upstream = self.session, self.upstream
        if session is None or upstream is None:
            return
        if data := session.data_for_server():
            upstream.transport.write(data)
        if data := session.data_for_client():
            self.transport.write(data)
        if session.closed:
            self.transport.close()
            upstream.end()


class Upstream(asyncio.Protocol):
    """The client's own PostgreSQL connection."""

    transport: asyncio.Transport

    def __init__(self, client: Client) -> None:
        self.client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a socket's
        self.transport = transport
        transport.set_write_buffer_limits(HIGH_WATER)

    def data_received(self, data: bytes) -> None:
        if self.client.session is not None:
            self.client.session.receive_from_server(data)
            self.client.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.client.transport.is_closing():
            self.client.transport.close()

    def pause_writing(self) -> None:
        with contextlib.suppress(RuntimeError):
            self.client.transport.pause_reading()

    def resume_writing(self) -> None:
        with contextlib.suppress(RuntimeError):
            self.client.transport.resume_reading()

    def end(self) -> None:
        """Terminate politely; PostgreSQL rolls back what is open."""
        if not self.transport.is_closing():
            self.transport.write(messages.message(b"X"))
            self.transport.close()
