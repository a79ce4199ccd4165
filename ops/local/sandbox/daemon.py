"""The process behind ``sandbox up``: PostgreSQL and the listener, until it is stopped."""

import asyncio
import fcntl
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Coroutine
from contextlib import closing, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import psycopg

from ops.backoff import Backoff
from ops.files import write_private
from ops.local.sandbox.certificates import Authority
from ops.local.sandbox.client import Backend
from ops.local.sandbox.control import Control, find_api_fault
from ops.local.sandbox.control_server import ControlServer
from ops.local.sandbox.fault_control import FaultServer, socket_path
from ops.local.sandbox.jobs import Worker
from ops.local.sandbox.postgres import Postgres, PostgresError, Superuser
from ops.local.sandbox.rules import assume
from ops.local.sandbox.server import Server
from ops.local.sandbox.state import State, load_job_delay
from ops.sandbox_status import CLUSTERS, LOCK, READY, StateError

logger = logging.getLogger(__name__)
BACKLOG = 512
TICK_SECONDS = 0.2
JOBS_PAUSE = 0.5  # seconds until jobs try again to reach PostgreSQL


def listen(port: int) -> socket.socket:
    """The listening socket. Raises OSError when the port is taken."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(BACKLOG)
    return listener


def is_mapped(superuser: Superuser, arn: str, role: str) -> bool:
    """Whether an ``AWS IAM GRANT`` lets the identity log in as the role."""
    query = (
        "SELECT 1 FROM sandbox.iam_mapping m JOIN pg_roles r ON r.oid = m.role "
        "WHERE m.arn = %s AND r.rolname = %s"
    )
    return bool(superuser.rows(query, (arn, role)))


class PostgresSupervisor:
    """Runs PostgreSQL and starts it again whenever it ends by itself."""

    def __init__(self, postgres: Postgres, *, durable: bool) -> None:
        self._postgres = postgres
        self._start = partial(postgres.start, durable=durable)
        self._starting: asyncio.Future[None] | None = None
        self._started = 0.0
        self._backoff = Backoff()

    async def start(self) -> None:
        """Raises PostgresError."""
        self._started = time.monotonic()
        self._starting = asyncio.ensure_future(asyncio.to_thread(self._start))
        await asyncio.shield(self._starting)

    async def supervise(self) -> None:
        """Runs until cancelled."""
        while True:
            code = await asyncio.to_thread(self._postgres.wait)
            cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            logger.warning("PostgreSQL ended (%s); starting it again", cause)
            await self._restart()
            logger.warning("PostgreSQL serves again")

    async def _restart(self) -> None:
        while True:
            pause = self._backoff.pause(time.monotonic() - self._started)
            await asyncio.sleep(pause)
            try:
                return await self.start()
            except (PostgresError, OSError, psycopg.Error) as error:
                logger.warning("PostgreSQL does not start yet: %s", error)

    async def stop(self) -> None:
        """End PostgreSQL, also one that is just starting."""
        if self._starting is not None:
            await asyncio.wait({self._starting})
        await asyncio.to_thread(self._postgres.stop)


async def serve(root: Path) -> None:
    """Start everything, say that it is ready, and run until SIGTERM or SIGINT."""
    state = State.load(root)
    if state is None:
        raise StateError(f"{root} holds no sandbox.")
    assume(state.assume)
    listener = listen(state.port)
    postgres = Postgres(root)
    supervisor = PostgresSupervisor(postgres, durable=state.durable)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await supervisor.start()
        with (
            closing(Superuser(postgres.connect)) as mapping,
            closing(Superuser(postgres.connect)) as jobs,
        ):
            server = _server(root, state, postgres, mapping, listener)
            worker = Worker(jobs, partial(load_job_delay, root))
            await _run(
                root, server, stop, supervisor.supervise(), _run_jobs(server, worker)
            )
    finally:
        await supervisor.stop()


def _server(
    root: Path,
    state: State,
    postgres: Postgres,
    mapping: Superuser,
    listener: socket.socket,
) -> Server:
    control = Control(
        root / CLUSTERS,
        state.timing,
        clock=time.time,
        clear=postgres.clear,
        fault=lambda action, region: find_api_fault(server.hub.faults, action, region),
    )
    backend = Backend(
        control, state.find_key, partial(is_mapped, mapping), postgres.socket_path
    )
    server = Server(
        backend,
        ControlServer(control, state.find_key),
        lru_cache(maxsize=1)(Authority(root / "tls").context),
        listener,
    )
    return server  # bound by now for the function that looks up faults


async def _run(
    root: Path, server: Server, stop: asyncio.Event, *others: Coroutine[Any, Any, None]
) -> None:
    """Serve until it is stopped. Raises what ended a part of it."""
    parts = (server.serve(), _run_life_cycle(server), *others, stop.wait())
    tasks = {asyncio.ensure_future(part) for part in parts}
    hub = server.hub
    fault_server = FaultServer(
        hub.faults, server.apply_fault, server.connections, hub.collector
    )
    try:
        async with fault_server.listening(socket_path(root)):
            write_private(root / READY, str(os.getpid()))
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        (root / READY).unlink(missing_ok=True)
        socket_path(root).unlink(missing_ok=True)
        for task in tasks:
            task.cancel()


async def _run_jobs(server: Server, worker: Worker) -> None:
    """Run the jobs; while PostgreSQL is down they wait."""
    while True:
        try:
            await server.run_jobs(worker)
        except psycopg.Error as error:
            logger.info("jobs wait for PostgreSQL: %s", error)
        await asyncio.sleep(JOBS_PAUSE)


async def _run_life_cycle(server: Server) -> None:
    """Let the clusters' life cycle go on, and end connections to those that are gone."""
    while True:
        await asyncio.sleep(TICK_SECONDS)
        await asyncio.to_thread(server.hub.backend.clusters.refresh)
        server.close_refused()


def _acquire_lock(path: Path) -> bool:
    """Hold the lock until the process ends; a status query holds it for a moment."""
    lock = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)  # closed by the process's end
    for _ in range(50):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.02)
    return False


def main() -> int:
    root = Path(sys.argv[1])
    # Before the fork, which shares it: a starter that comes when this one has ended finds it.
    if not _acquire_lock(root / LOCK):
        return 0  # another process was faster and serves this directory
    (root / READY).unlink(missing_ok=True)  # of one that was killed
    if os.fork():
        return 0  # the starter waits for this process only: the daemon has no parent
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    write_private(root / "pid", str(os.getpid()))
    try:
        asyncio.run(serve(root))
    except (OSError, StateError, PostgresError, psycopg.Error) as error:
        logger.error("%s", error)  # noqa: TRY400 - the text says it, no traceback
        return 1
    return 0
