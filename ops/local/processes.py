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

from ops.local import envfile
from ops.local.sandbox import lifecycle
from ops.local.sandbox.lifecycle import Status
from ops.paths import ENV_FILE, MANAGE, SANDBOX
from ops.topology import Topology

HOST = "127.0.0.1"
STOP_SECONDS = 10.0
TICK_SECONDS = 0.1  # between checks of a child process
LISTENS = "Quit the server with"  # the beginning of runserver's last line at start-up
Say = Callable[[str], None]


class PortTaken(Exception):
    """Another program listens on the port of a Region."""


class CommandFailed(Exception):
    """A command of manage.py failed; it has printed its error."""


class Interrupted(Exception):
    """The user wants to stop before everything has started."""


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


def require_free_port(role: str, port: int) -> None:
    """Raise PortTaken when the port is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise PortTaken(f"Port {port} ({role}) is in use on {HOST}.") from None


def begin(
    topology: Topology, say: Say, *, stop: threading.Event | None = None
) -> Status:
    """Start the sandbox and provision it with the commands that an operator runs for AWS.

    Raises SandboxError, StateError, PostgresError, CommandFailed, or Interrupted when
    ``stop`` is set.
    """
    stop = stop or threading.Event()
    say(f"Starting the sandbox in {SANDBOX} ...")
    status = lifecycle.up(SANDBOX, topology=None, prefix=topology.prefix)
    say(envfile.ensure(ENV_FILE, status))
    for command in ("dsql_provision", "dsql_database"):
        manage(command, envfile.variables(status), say, stop=stop)
    return lifecycle.status(SANDBOX)


def manage(
    command: str,
    environ: Mapping[str, str],
    say: Say,
    *,
    stop: threading.Event | None = None,
) -> None:
    """Run a command of manage.py with that environment.

    Raises CommandFailed, or Interrupted when ``stop`` is set; the command is stopped then.
    """
    stop = stop or threading.Event()
    if stop.is_set():
        raise Interrupted
    child = Child(command, [command, "--no-color"], environ, say)
    try:
        while child.is_running():
            if stop.wait(TICK_SECONDS):
                raise Interrupted
    finally:
        end([child])
    if child.returncode:
        raise CommandFailed(f"manage.py {command} failed; its output is above.")


class Child:
    """A command of manage.py as a process; its lines are passed on with its name."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        say: Say,
    ) -> None:
        self.listens = threading.Event()  # it is a server and has begun to serve
        self._process = subprocess.Popen(
            [sys.executable, "-u", str(MANAGE), *arguments],
            env={**os.environ, **environ},
            # A pipe only we hold: it ends when this process does, even by SIGKILL.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # The terminal's Ctrl-C reaches this process only, which stops its children in
            # order.
            start_new_session=True,
        )
        self._reader = threading.Thread(
            target=self._relay, args=(self._process.stdout, name, say), daemon=True
        )
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int:
        return self._process.returncode or 0

    def is_running(self) -> bool:
        return self._process.poll() is None

    def _relay(self, lines: IO[str] | None, name: str, say: Say) -> None:
        for line in lines or ():
            say(f"[{name}] {line.rstrip()}")
            if line.startswith(LISTENS):
                self.listens.set()

    def interrupt(self) -> None:
        if self.is_running():
            os.killpg(self.pid, signal.SIGINT)

    def close(self, seconds: float) -> None:
        """Wait for the process and its last lines; kill it when that takes longer."""
        try:
            self._process.wait(max(0.1, seconds))
        except subprocess.TimeoutExpired:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def end(children: Sequence[Child]) -> None:
    """Stop all of them at the same time; none is left when this returns."""
    for child in children:
        child.interrupt()
    deadline = time.monotonic() + STOP_SECONDS
    for child in children:
        child.close(deadline - time.monotonic())


def start(server: RegionServer, say: Say) -> Child:
    return Child(
        f"{server.role} {server.region}",
        [
            "runserver",
            "--noreload",
            "--until-eof",
            "--no-color",
            f"{HOST}:{server.port}",
        ],
        # The warning against production use is for people, not for this log.
        {**server.environ, "DJANGO_RUNSERVER_HIDE_WARNING": "true"},
        say,
    )


@contextmanager
def running(servers: Sequence[RegionServer], say: Say) -> Iterator[list[Child]]:
    """The processes of the servers, which have ended when the block ends."""
    children = [start(server, say) for server in servers]
    try:
        yield children
    finally:
        end(children)
