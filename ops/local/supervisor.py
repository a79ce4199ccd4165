"""Supervision for ``manage.py run``: what ends is reported and started again."""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ops.backoff import Backoff
from ops.local import processes
from ops.local.processes import Child, RegionServer, Say
from ops.local.sandbox import lifecycle
from ops.local.sandbox.lifecycle import SandboxError
from ops.local.sandbox.postgres import PostgresError
from ops.sandbox_status import StateError

TICK_SECONDS = 0.2
QUIET = ("DEBUG", "INFO")  # levels of the sandbox's log that are not passed on


class NeverServed(Exception):
    """A server ended before it had served once, so its settings are wrong."""


class SupervisedServer:
    """The server of one Region, started again whenever it ends."""

    def __init__(self, server: RegionServer, say: Say) -> None:
        self.server, self._say = server, say
        self.has_served = self._serves = False
        self.child: Child | None = None
        self._backoff = Backoff()
        self._start()

    def _start(self) -> None:
        self._started = time.monotonic()
        self._serves = False
        self.child = processes.start(self.server, self._say)

    def check(self) -> None:
        """Start the server when that is due, and report changes. Raises NeverServed."""
        now = time.monotonic()
        if self.child is None:
            if now >= self._due:
                self._start()
        elif self.child.is_running():
            if not self._serves and self.child.listens.is_set():
                self._note_service()
        else:
            self._note_end(self.child, now)

    def _note_service(self) -> None:
        if self.has_served:
            self._say(f"The {self.server.role} server serves again.")
        self._serves = self.has_served = True

    def _note_end(self, child: Child, now: float) -> None:
        processes.end([child])
        self.child = None
        self.has_served |= child.listens.is_set()
        how = describe_end(child.returncode)
        if not self.has_served:
            raise NeverServed(
                f"The {self.server.role} server did not start ({how}); its output is above."
            )
        pause = self._backoff.pause(now - self._started)
        self._due = now + pause
        self._say(
            f"The {self.server.role} server ended ({how}); "
            f"it is started again in {pause:g} s."
        )


def describe_end(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


class SupervisedSandbox:
    """The sandbox, started again whenever it ends; warnings in its log are passed on."""

    def __init__(self, root: Path, prefix: str, say: Say) -> None:
        self._root, self._prefix, self._say = root, prefix, say
        self._log = LogTail(root / "sandbox.log")
        self._backoff = Backoff()
        self._started = self._due = time.monotonic()
        self._alive = True

    def check(self) -> None:
        for line in self._log.warnings():
            self._say(f"[sandbox] {line}")
        now = time.monotonic()
        if self._alive and not lifecycle.is_alive(self._root):
            self._alive = False
            self._postpone(now, "The sandbox ended")
        elif not self._alive and now >= self._due:
            self._start()

    def _start(self) -> None:
        self._log.rewind()
        self._started = time.monotonic()
        try:
            lifecycle.up(self._root, topology=None, prefix=self._prefix)
        except (SandboxError, StateError, PostgresError) as error:
            self._postpone(time.monotonic(), str(error))
            return
        self._alive = True
        self._say("The sandbox runs again.")

    def _postpone(self, now: float, why: str) -> None:
        pause = self._backoff.pause(now - self._started)
        self._due = now + pause
        self._say(f"{why}; it is started again in {pause:g} s.")


class LogTail:
    """The warnings and errors that are added to a log from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = path.stat().st_size if path.exists() else 0
        self._quiet = True

    def rewind(self) -> None:
        """Read from the beginning: a new sandbox overwrites the log."""
        self._position = 0

    def warnings(self) -> list[str]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as log:
            log.seek(self._position)
            whole, newline, _ = log.read().rpartition(b"\n")
        self._position += len(whole + newline)
        return [
            text
            for line in whole.decode(errors="replace").splitlines()
            if (text := self._warning(line))
        ]

    def _warning(self, line: str) -> str:
        """The message of a warning or error; "" for other lines."""
        parts = line.split(" ", 3)  # day, time, level, message
        if len(parts) == 4 and parts[2].isupper():
            self._quiet = parts[2] in QUIET
            line = parts[3]
        return "" if self._quiet else line


def serve(
    servers: Sequence[RegionServer],
    sandbox: SupervisedSandbox | None,
    say: Say,
    stop: threading.Event,
    announce: Callable[[], None] = lambda: None,
) -> None:
    """Keep all of them running until ``stop`` is set; ``announce`` once all have served.

    All processes are children of this one and have ended when it returns. Raises
    NeverServed.
    """
    supervised: list[SupervisedServer] = []
    announced = False
    try:
        # One by one: those that have started are stopped if the next one cannot start.
        supervised.extend(SupervisedServer(server, say) for server in servers)
        while not stop.wait(TICK_SECONDS):
            if sandbox is not None:
                sandbox.check()
            for each in supervised:
                each.check()
            if not announced and all(each.has_served for each in supervised):
                announced = True
                announce()
    finally:
        processes.end([each.child for each in supervised if each.child is not None])
