"""Both Regions of the application as two processes on this machine."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from ops.paths import ENV_FILE, MANAGE, SANDBOX
from ops.sandbox import envfile, lifecycle
from ops.sandbox.lifecycle import Status
from ops.topology import Topology

HOST = "127.0.0.1"
STOP_SECONDS = 10.0
Say = Callable[[str], None]
Running = tuple[subprocess.Popen[str], threading.Thread]  # a server and its reader


class PortTaken(Exception):
    """Another program listens where a Region should be served."""


class CommandFailed(Exception):
    """A command of manage.py ended with an error, which it has printed."""


@dataclass(frozen=True, slots=True)
class RegionServer:
    """One Region: its role, its Region name and where it is served."""

    role: str
    region: str
    port: int
    environ: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


def require_free_port(server: RegionServer) -> None:
    """Raise PortTaken with the way out when the port is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, server.port))
        except OSError:
            other = server.port + 10
            raise PortTaken(
                f"Port {server.port} ({server.role}) is in use on {HOST}. Stop what listens "
                f"there, or choose others: manage.py run --ports {other} {other + 1}"
            ) from None


def begin(topology: Topology, say: Say, *, env_file: bool) -> Status:
    """Start the sandbox and make in it what an operator makes in AWS, by the same commands.

    Raises SandboxError, StateError, PostgresError or CommandFailed.
    """
    say(f"Starting the sandbox in {SANDBOX} ...")
    status = lifecycle.up(SANDBOX, topology=None, prefix=topology.prefix)
    if env_file:
        say(envfile.write_if_none(ENV_FILE, status))
    for command in ("dsql_provision", "dsql_database"):
        manage(command, envfile.variables(status), say)
    return lifecycle.status(SANDBOX)


def manage(command: str, environ: Mapping[str, str], say: Say) -> None:
    """Run a command of manage.py with that environment. Raises CommandFailed."""
    with subprocess.Popen(
        [sys.executable, str(MANAGE), command, "--no-color"],
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        _relay(process.stdout, command, say)
    if process.returncode:
        raise CommandFailed(f"manage.py {command} failed; its output is above.")


def serve(servers: Sequence[RegionServer], say: Say) -> int:
    """Run every server until one ends or Ctrl-C; returns the exit code.

    All processes are children of this one and are gone when it returns.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    with running(servers, say) as processes:
        while not stop.wait(0.2):
            for (process, _), server in zip(processes, servers, strict=True):
                if process.poll() is not None:
                    say(f"The {server.role} server ended; stopping the other.")
                    return process.returncode or 1
        return 0


@contextmanager
def running(servers: Sequence[RegionServer], say: Say) -> Iterator[list[Running]]:
    """The servers' processes, which are gone when the block ends."""
    processes = [_start(server, say) for server in servers]
    try:
        yield processes
    finally:
        _stop(processes)


def _start(server: RegionServer, say: Say) -> Running:
    process = subprocess.Popen(
        [
            *(sys.executable, "-u", str(MANAGE), "runserver", "--noreload"),
            # A pipe only we hold: it ends when this process does, even by SIGKILL.
            *("--until-eof", "--no-color", f"{HOST}:{server.port}"),
        ],
        env={
            **os.environ,
            **server.environ,
            "DJANGO_RUNSERVER_HIDE_WARNING": "true",  # nobody mistakes it for production
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # The terminal's Ctrl-C reaches this process only, which stops its children in order.
        start_new_session=True,
    )
    prefix = f"{server.role} {server.region}"
    reader = threading.Thread(
        target=_relay, args=(process.stdout, prefix, say), daemon=True
    )
    reader.start()
    return process, reader


def _relay(lines: IO[str] | None, prefix: str, say: Say) -> None:
    for line in lines or ():
        say(f"[{prefix}] {line.rstrip()}")


def _stop(running: Sequence[Running]) -> None:
    for process, _ in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
    deadline = time.monotonic() + STOP_SECONDS
    for process, reader in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        reader.join()  # its last lines are said
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
