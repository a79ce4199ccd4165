"""The process behind ``sandbox up``: PostgreSQL and the listener, until told to stop."""

import asyncio
import fcntl
import logging
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import IO

import psycopg

from ops.sandbox.certificates import Authority
from ops.sandbox.control import Control, api_fault
from ops.sandbox.control_server import ControlServer
from ops.sandbox.control_store import CLUSTERS
from ops.sandbox.faultline import Switchboard, socket_path
from ops.sandbox.jobs import Worker
from ops.sandbox.postgres import Postgres, PostgresError
from ops.sandbox.server import Backend, Server
from ops.sandbox.state import State, StateError, job_delay, write_private

logger = logging.getLogger(__name__)
BACKLOG = 512
TICK_SECONDS = 0.2


def listen(port: int) -> socket.socket:
    """The listening socket. Raises OSError when the port is taken."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(BACKLOG)
    return listener


class Mapping:
    """Who may be whom: the rows of ``AWS IAM GRANT``, read at each login."""

    def __init__(self, postgres: Postgres) -> None:
        self._connection = postgres.connect()
        self._lock = threading.Lock()

    def may_be(self, arn: str, role: str) -> bool:
        query = (
            "SELECT 1 FROM sandbox.iam_mapping m JOIN pg_roles r ON r.oid = m.role "
            "WHERE m.arn = %s AND r.rolname = %s"
        )
        with self._lock:
            return self._connection.execute(query, (arn, role)).fetchone() is not None

    def close(self) -> None:
        self._connection.close()


async def serve(root: Path) -> None:
    """Start everything, say that it is ready, and run until SIGTERM or SIGINT."""
    state = State.load(root)
    if state is None:
        raise StateError(f"{root} holds no sandbox.")
    listener = listen(state.port)
    authority = Authority(root / "tls")
    postgres = Postgres(root)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await asyncio.to_thread(postgres.start)
    mapping = Mapping(postgres)
    worker = Worker(postgres.connect, partial(job_delay, root))
    try:
        control = Control(
            root / CLUSTERS,
            state.timing,
            clock=time.time,
            clear=postgres.clear,
            fault=lambda action, region: api_fault(server.faults, action, region),
        )
        backend = Backend(
            cache(authority.context),
            control,
            ControlServer(control, state.find_key),
            state.find_key,
            mapping.may_be,
            postgres.socket_path,
        )
        server = Server(backend, listener)
        serving = asyncio.create_task(server.serve())
        living = asyncio.create_task(_live(control, server))
        working = asyncio.create_task(server.work(worker))
        ended = asyncio.create_task(asyncio.to_thread(postgres.wait))
        stopping = asyncio.create_task(stop.wait())
        switchboard = Switchboard(server.faults, server.enforce, server.connections)
        async with switchboard.listening(socket_path(root)):
            write_private(root / "ready", str(os.getpid()))
            await asyncio.wait(
                {serving, living, working, ended, stopping},
                return_when=asyncio.FIRST_COMPLETED,
            )
        if not stop.is_set():
            logger.error("the listener or PostgreSQL ended by itself; stopping")
        for task in (serving, living, working, stopping):
            task.cancel()
    finally:
        (root / "ready").unlink(missing_ok=True)
        socket_path(root).unlink(missing_ok=True)
        mapping.close()
        worker.close()
        postgres.stop()


async def _live(control: Control, server: Server) -> None:
    """Let the clusters' life cycle go on, and end connections to those that are gone."""
    while True:
        await asyncio.sleep(TICK_SECONDS)
        await asyncio.to_thread(control.settle)
        server.cut_refused()


def _take(lock: IO[str]) -> bool:
    """Take the lock for life; who only asks for the state holds it for a moment."""
    for _ in range(50):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.02)
    return False


def main() -> int:
    root = Path(sys.argv[1])
    if os.fork():
        return 0  # the starter waits for this one only: the daemon is nobody's child
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    with (root / "lock").open("a") as lock:
        if not _take(lock):
            return 0  # another one was faster and serves this folder
        (root / "ready").unlink(missing_ok=True)
        write_private(root / "pid", str(os.getpid()))
        try:
            asyncio.run(serve(root))
        except (OSError, StateError, PostgresError, psycopg.Error) as error:
            logger.error("%s", error)  # noqa: TRY400 - the text says it, no traceback
            return 1
    return 0
