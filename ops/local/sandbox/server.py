"""The listener: each connection goes to the control plane or, by TLS and SNI, to a client.

With client.py and negotiation.py the only asyncio of the sandbox's data plane.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable

from ops.local.sandbox.client import Backend, Client, Hub
from ops.local.sandbox.clusters import parse_region
from ops.local.sandbox.control_server import ControlServer
from ops.local.sandbox.faults import AT_ONCE, Fault
from ops.local.sandbox.jobs import Worker
from ops.local.sandbox.negotiation import Next, negotiate
from ops.local.sandbox.peers import Peers

logger = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0
LONGEST_SLEEP = 0.1  # seconds until a changed delay of jobs is seen
LONGEST_SILENCE = 1.0  # seconds until a job that nobody announced is seen


class Server:
    """Listens on 127.0.0.1; ``serve`` runs until cancelled."""

    def __init__(
        self,
        backend: Backend,
        api: ControlServer,
        build_context: Callable[[tuple[str, ...]], ssl.SSLContext],  # for endpoints
        listener: socket.socket,
    ) -> None:
        self._submitted = asyncio.Event()
        self.hub = Hub(backend, Peers(self._submitted.set))
        self._api = api
        self._build_context = build_context
        self._listener = listener
        self._context = self._routing_context()
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        self._listener.setblocking(False)
        while True:
            connection, _ = await loop.sock_accept(self._listener)
            task = loop.create_task(self._accept(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def close_refused(self) -> None:
        """End the connections to clusters that serve no longer."""
        for client in list(self.hub.clients):
            if client.name and self.hub.backend.clusters.refusal(client.name):
                client.transport.close()

    async def run_jobs(self, worker: Worker) -> None:
        """Run jobs when they are due; runs until cancelled."""
        self.hub.peers.submit(await asyncio.to_thread(worker.unfinished), None)
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
                self.hub.peers.end_job(due.job, changes_catalog=due.changes_catalog)
            else:
                self.hub.peers.request_locks(None, tables=True)

    def apply_fault(self, fault: Fault) -> None:
        """Let a new fault strike what is already open."""
        for client in list(self.hub.clients):
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
        counts = Counter(client.faults.region for client in self.hub.clients)
        regions = {parse_region(host) for host in self.hub.backend.clusters.hosts()}
        return {region: counts[region] for region in sorted(filter(None, regions))}

    async def _accept(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                following = await negotiate(connection)
                if following is Next.TLS:
                    await self._start_tls(connection)
        except (OSError, TimeoutError) as error:
            logger.debug("connection ended in its handshake: %s", error)
            following = Next.NOTHING
        if following is Next.HTTP:
            self._api.serve(connection)
        elif following is Next.NOTHING:
            connection.close()

    async def _start_tls(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(
            lambda: Client(self.hub), connection, ssl=self._context
        )

    def _routing_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_alpn_protocols(["postgresql"])

        def route(tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            self.hub.names[tls] = name
            hosts = self.hub.backend.clusters.hosts()
            tls.context = self._build_context(tuple(sorted(hosts)))

        context.sni_callback = route
        return context
