"""A peer's function in a process of its own, seen from the harness."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.peers.events import Event

HOST = Path(__file__).with_name("host.py")


class PeerFailed(Exception):
    """A peer's process failed or responded otherwise than it must; the text has its words."""


@dataclass(frozen=True, slots=True)
class Installed:
    """A peer ready to start: its unpacked package, and the zip that Lambda would get."""

    name: str
    task: Path
    handler: str
    runtime: Path
    zipped: int


@dataclass(frozen=True, slots=True)
class Variant:
    """A row of the table: a peer, with the environment and headers it is measured with."""

    name: str
    peer: Installed
    environ: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Invocation:
    """CPU milliseconds of all events together, every status, the last response."""

    cpu: float
    statuses: Sequence[int]
    response: Mapping[str, Any]
    rss: int
    modules: int

    @property
    def content(self) -> Any:
        return json.loads(self.response["body"])


class Function:
    """The process of a variant; made once its handler was imported."""

    def __init__(self, variant: Variant, environ: Mapping[str, str]) -> None:
        self.name, self.headers = variant.name, variant.headers
        peer = variant.peer
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", "-B", str(HOST)),
                *(str(peer.task), peer.handler, str(peer.runtime)),
            ],
            env={
                "PATH": os.environ["PATH"],
                "AWS_LAMBDA_FUNCTION_NAME": "benchmark",
                "LAMBDA_TASK_ROOT": str(peer.task),
                **environ,
            },
            cwd=peer.task,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.init_cpu = float(self._read()["cpu"]) * 1000

    def invoke(self, events: Sequence[Event]) -> Invocation:
        """Raises PeerFailed when the handler raised."""
        assert self.process.stdin is not None
        for event in events:
            event["headers"] |= self.headers
            event["multiValueHeaders"] |= {k: [v] for k, v in self.headers.items()}
        self.process.stdin.write(json.dumps(events) + "\n")
        self.process.stdin.flush()
        read = self._read()
        return Invocation(**{**read, "cpu": read["cpu"] * 1000})

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise PeerFailed(f"{self.name} ended without a word")
        read: dict[str, Any] = json.loads(line)
        if "error" in read:
            raise PeerFailed(f"{self.name}:\n{read['error']}")
        return read


@contextmanager
def running(variant: Variant, **environ: str) -> Iterator[Function]:
    function = Function(variant, {**variant.environ, **environ})
    with function.process:
        try:
            yield function
        finally:
            function.process.terminate()
