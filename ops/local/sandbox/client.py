"""A client's connection over TLS: login by token, then bytes between it and its session.

A Client speaks TLS, an Upstream is its own PostgreSQL connection; the Session between them
does no I/O.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from weakref import WeakKeyDictionary

import psycopg

from ops.local.sandbox import messages, signatures
from ops.local.sandbox.clusters import parse_region
from ops.local.sandbox.collector import Collector
from ops.local.sandbox.control import Control
from ops.local.sandbox.faults import FOREVER, ClientFaults, Faults
from ops.local.sandbox.peers import Peers
from ops.local.sandbox.rules.settings import SETTINGS, find_startup_refusal
from ops.local.sandbox.session import Session
from ops.local.sandbox.signatures import Key, TokenRefused

logger = logging.getLogger(__name__)

PROTOCOL_3 = 3
LOGIN_SECONDS = 10.0
DENIED = "unable to accept connection, access denied"
NO_SNI = "unable to accept connection, sni was not received"
HIGH_WATER = 1 << 20  # bytes buffered to one side before the other is paused


@dataclass(frozen=True, slots=True)
class Backend:
    """What connections need: the clusters, the keys and PostgreSQL."""

    clusters: Control
    find_key: Callable[[str], Key | None]
    is_mapped: Callable[[str, str], bool]  # (ARN, role): whether the mapping allows it
    socket_path: str


@dataclass(slots=True)
class Hub:
    """What all connections share."""

    backend: Backend
    peers: Peers
    faults: Faults = field(default_factory=Faults)
    collector: Collector = field(default_factory=Collector)
    clients: "set[Client]" = field(default_factory=set)
    # The name in each TLS client's SNI.
    names: WeakKeyDictionary[ssl.SSLObject, str | None] = field(
        default_factory=WeakKeyDictionary
    )


class Client(asyncio.Protocol):
    """A client over TLS: login first, then its session."""

    transport: asyncio.Transport

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.name: str | None = None
        self.upstream: Upstream | None = None
        self.session: Session | None = None
        self._buffer = b""
        self._parameters: dict[str, str] = {}
        self._greeted = self._silent = False
        self.faults = ClientFaults(hub.faults)
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._admitted = self._held_until = 0.0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TLS over TCP
        self.transport = transport
        self.name = self.hub.names.get(transport.get_extra_info("ssl_object"))
        self.faults.region = parse_region(self.name or "") or ""
        transport.set_write_buffer_limits(HIGH_WATER)
        self.hub.clients.add(self)
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
        """Pass it to the session: now, or in order after the latency of a fault."""
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
        """End the connection that many seconds after its login."""
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._admitted + seconds, self.transport.abort)

    def cut(self) -> None:
        """End the connection before this returns: ``abort`` alone does it a bit later."""
        connection = self.transport.get_extra_info("socket")
        self.hub.clients.discard(self)
        self.transport.abort()
        if connection is not None:  # else it has ended already
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def is_silent(self) -> bool:
        return self._silent or (self.session is not None and self.session.silent)

    def connection_lost(self, exc: Exception | None) -> None:
        self.hub.clients.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        # Both refer to this client: the cycle would hold the 256 KiB that asyncio reads
        # TLS into until the garbage collector runs.
        if self.session is not None:
            self.hub.peers.leave(self.session)
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
            payload = self._read_payload(0)
            if payload is not None:
                self._greet(payload)
        if self._greeted and self._task is None:
            payload = self._read_payload(1)
            if payload is not None:
                token = messages.cstring(payload + b"\0")[0]
                self._task = asyncio.get_running_loop().create_task(self._admit(token))

    def _read_payload(self, at: int) -> bytes | None:
        """The payload of the next message, whose length is at ``at``."""
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
            self._refuse(messages.fatal(NO_SNI))
        elif hint := self.hub.backend.clusters.refusal(self.name):
            self._refuse(messages.fatal(DENIED, hint=hint))
        elif version != PROTOCOL_3:
            self._refuse(
                messages.fatal("unsupported frontend protocol", sqlstate="0A000")
            )
        elif self._parameters.get("database", "postgres") != "postgres":
            name = self._parameters["database"]
            text = f'database "{name}" does not exist'
            self._refuse(messages.fatal(text, sqlstate="3D000"))
        elif refusal := find_startup_refusal(self._parameters):
            self._refuse(messages.fatal(refusal.message, sqlstate=refusal.sqlstate))
        else:
            self._greeted = True
            self.transport.write(messages.message(b"R", struct.pack("!i", 3)))

    def _refuse(self, error: bytes) -> None:
        self.transport.write(error)
        self.transport.close()

    async def _admit(self, token: str) -> None:
        role = self._parameters.get("user", "admin")
        if await self._apply_login_faults():
            return
        loop = asyncio.get_running_loop()
        session = Session(
            time.monotonic,
            self.hub.peers,
            self.faults,
            wake=self.flush,
            observe=self.hub.collector.add,
        )
        try:
            await self._authenticate(role, token)
            _, upstream = await loop.create_unix_connection(
                lambda: Upstream(self), self.hub.backend.socket_path
            )
        except TokenRefused as refused:
            logger.info("refused %s at %s: %s", role, self.name, refused)
            self._refuse(messages.fatal(DENIED, hint=str(refused)))
            return
        except (OSError, psycopg.Error) as error:
            logger.info("PostgreSQL cannot be reached: %s", error)
            self._refuse(messages.fatal("server unavailable", sqlstate="XX000"))
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
        self.hub.peers.sessions.add(session)
        settings = {
            name: value
            for name, value in self._parameters.items()
            if name.lower() in SETTINGS | {"options"}
        }
        session.begin(
            messages.startup({"user": role, "database": "postgres"} | settings)
        )
        session.receive_from_client(self._buffer)
        self._buffer = b""
        self.flush()

    async def _apply_login_faults(self) -> bool:
        """Whether a fault ended the login; an injected latency passes first."""
        if delay := self.faults.connect_delay():
            await asyncio.sleep(delay)
        if self.faults.refuses():
            self.transport.abort()
        elif found := self.faults.fatal():
            self._refuse(
                messages.fatal(found.message, sqlstate=found.sqlstate, hint=found.hint)
            )
        return self.transport.is_closing()

    async def _authenticate(self, role: str, token: str) -> None:
        backend = self.hub.backend
        host = self.name or ""
        key = signatures.verify(
            token,
            host=host,
            region=parse_region(host) or "",
            user=role,
            find_key=backend.find_key,
            now=datetime.now(UTC),
        )
        if role != "admin" and not await asyncio.to_thread(
            backend.is_mapped, key.arn, role
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
