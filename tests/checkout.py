"""Commands as an operator types them: in a fresh clone, in processes of their own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

from ops.paths import PROJECT

TARGETS = ("TARGET", "AWS_", "DJANGO_", "DSQL_", "PG", "PYTHON", "ALLOWED_HOSTS")
SECONDS = 90  # until a command that hangs fails its test


@dataclass
class Checkout:
    root: Path
    running: list["Running"] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        """This process's without anything that names a target."""
        return {k: v for k, v in os.environ.items() if not k.startswith(TARGETS)}

    def manage(
        self, *arguments: str, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.root,
            env=self.environ | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def start(self, *arguments: str, in_background: bool = False) -> "Running":
        """``in_background``: as a shell does it, which lets the command ignore SIGINT."""
        shell = ("sh", "-c", 'trap "" INT; exec "$@"', "sh")
        process = subprocess.Popen(
            [
                *(shell if in_background else ()),
                *(sys.executable, "manage.py", *arguments),
            ],
            cwd=self.root,
            # Not -u: a command that begins anew would lose it.
            env=self.environ | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.running.append(Running(process))
        return self.running[-1]

    def end(self) -> None:
        """Nothing this checkout started is left, whatever a test did."""
        for running in self.running:
            running.stop(signal.SIGKILL)
        done = self.manage("sandbox", "reset", "--yes")
        assert done.returncode == 0, done.stderr


def copied(root: Path) -> Checkout:
    """The project's files in a new folder, and nothing that a command made."""
    root.mkdir()
    for name in ("manage.py", "zappa_settings.json"):
        shutil.copy(PROJECT / name, root)
    for package in ("config", "ops", "users"):
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / package, root / package, ignore=unwanted)
    return Checkout(root)


class Running:
    """A command that goes on; its lines are read while it does."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self._add(line.rstrip())
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _add(self, line: str) -> None:
        with self._changed:
            self.lines.append(line)
            self._changed.notify_all()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def await_output(self, text: str, times: int = 1) -> None:
        def seen() -> bool:
            return self._ended or self.output.count(text) >= times

        with self._changed:
            assert self._changed.wait_for(seen, SECONDS), self.output
        assert self.output.count(text) >= times, self.output

    def stop(self, number: int) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        assert not self._reader.is_alive(), "something still holds its output"
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports
