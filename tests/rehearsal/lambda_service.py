"""Lambda as far as a function notices: its package unpacked, its variables, the Runtime API.

Lambda developer guide, "Using the Lambda runtime API for custom runtimes". The function
runs in AWS's own runtime client (awslambdaric), on an interpreter of its runtime's version,
with nothing else on its import path. An
init that takes ten seconds or fails is ended and repeated inside the first request, whose
time it then takes ("Understanding the Lambda execution environment lifecycle"); so is the
init after a request that took too long.
"""

import contextlib
import io
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.rehearsal import runtimes

# Stands in for the name server, for names of which HOSTS_VARIABLE has the addresses.
RESOLVER = Path(__file__).with_name("resolver.py")
HOSTS_VARIABLE = "REHEARSAL_HOSTS"
INVOCATION = "/2018-06-01/runtime/invocation"
INIT_SECONDS = 10.0
LOOK_SECONDS = 0.1  # until it is seen that a process has ended
READY, ERROR, TIMEOUT = "ready", "error", "timeout"


class FunctionError(Exception):
    """The function ended with an error instead of an answer."""


class EnvironmentEnded(FunctionError):
    """And no later request is served by this process."""


class QuietServer(ThreadingHTTPServer):
    """Says nothing of clients that hang up: a function is killed while it waits."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@dataclass(frozen=True, slots=True)
class Init:
    """How an init went."""

    seconds: float
    status: str

    def report(self, phase: str) -> str:
        """Lambda's log line about an init that did not end well."""
        return (
            f"INIT_REPORT Init Duration: {self.seconds * 1000:.2f} ms\t"
            f"Phase: {phase}\tStatus: {self.status}"
        )


class Process:
    """The function's process and its Runtime API."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environ: Mapping[str, str],
        log: Path,
    ) -> None:
        self.events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.answers: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.ready = threading.Event()
        self.init_cpu = 0.0
        self.deadline = 0.0  # of the request under way, wall clock
        self.server = QuietServer(("127.0.0.1", 0), _runtime_api(self))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        host, port = self.server.server_address[:2]
        self.started = time.monotonic()
        with log.open("ab") as lines:
            self.child = subprocess.Popen(
                command, cwd=folder, stdout=lines, stderr=lines,
                env={**environ, "AWS_LAMBDA_RUNTIME_API": f"{host!s}:{port}"},
                stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def init(self, seconds: float) -> Init:
        """Wait until it asks for its first request, ends, or so much time is over."""
        while not self.ready.wait(0.02):
            spent = time.monotonic() - self.started
            if self.child.poll() is not None:
                return Init(spent, ERROR)
            if spent > seconds:
                return Init(spent, TIMEOUT)
        return Init(time.monotonic() - self.started, READY)

    def respond(self, event: Mapping[str, Any], began: float, seconds: float) -> Any:
        """What the handler returns. Raises FunctionError, whose texts are Lambda's."""
        self.deadline = deadline = began + seconds
        self.events.put({"id": str(uuid.uuid4()), "body": json.dumps(event).encode()})
        while True:
            with contextlib.suppress(queue.Empty):
                kind, body = self.answers.get(timeout=LOOK_SECONDS)
                break
            if (code := self.child.poll()) is not None:
                how = "signal: killed" if code < 0 else f"exit status {code}"
                raise EnvironmentEnded(f"Error: Runtime exited with error: {how}")
            if time.time() > deadline:
                spent = time.time() - began
                raise EnvironmentEnded(
                    f"Error: Task timed out after {spent:.2f} seconds"
                )
        if kind != "response":
            raise FunctionError(body.decode())
        return json.loads(body)

    def cpu(self) -> float:
        tasks = Path(f"/proc/{self.child.pid}/task")
        spent = [
            (each / "schedstat").read_text().split()[0] for each in tasks.iterdir()
        ]
        return sum(map(int, spent)) / 1e9

    def close(self) -> None:
        self.child.kill()
        self.child.wait()
        self.events.put(None)  # whoever still waits for a request in its name
        self.server.shutdown()
        self.server.server_close()


class Function:
    """One execution environment, started at once and ended by ``close``."""

    def __init__(
        self,
        package: bytes,
        handler: str,
        variables: Mapping[str, str],
        timeout: float,
        *,
        runtime: str = runtimes.HERE,
        log_line: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.timeout, self.log_line = timeout, log_line
        self.runtime, self.python = runtime, runtimes.interpreter(runtime)
        self.folder = Path(tempfile.mkdtemp(prefix="rehearsal-function-"))
        self.log = self.folder / "log.txt"
        self.task = self.folder / "task"
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            archive.extractall(self.task)
            _date_as_in(archive, self.task)
        self._runtime_client()
        self.handler, self.variables = handler, variables
        self.lock = threading.Lock()
        self.init_ended: Init | None = None
        self.process: Process | None = self._start()

    def init(self) -> Init:
        """Lambda's init phase, which invoking waits for: once, and of ten seconds."""
        if self.init_ended is None:
            assert self.process is not None
            self.init_ended = self.process.init(INIT_SECONDS)
            self._end_unless_ready(self.init_ended, "init")
        return self.init_ended

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """The handler's answer. Raises FunctionError, as API Gateway would answer 502."""
        with self.lock:
            self.init()
            began = time.time()
            if self.process is None:
                self.process = self._start()
                again = self.process.init(self.timeout)
                self._end_unless_ready(again, "invoke")
            if self.process is None:
                raise FunctionError(
                    f"It did not start:\n{self.log.read_text()[-2000:]}"
                )
            try:
                return self.process.respond(event, began, self.timeout)
            except EnvironmentEnded as ended:
                self._end()
                self._log_platform(f"RequestId: {uuid.uuid4()} {ended}")
                raise

    @property
    def init_cpu(self) -> float:
        """CPU seconds of the init."""
        assert self.process is not None
        return self.process.init_cpu

    def cpu(self) -> float:
        """CPU seconds that the process has used."""
        assert self.process is not None
        return self.process.cpu()

    def rss(self) -> int:
        """Resident bytes."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.child.pid}/status").read_text()
        line = next(row for row in status.splitlines() if row.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def close(self) -> None:
        self._end()
        shutil.rmtree(self.folder)

    def _end(self) -> None:
        if self.process is not None:
            self.process.close()
            self.process = None

    def _end_unless_ready(self, init: Init, phase: str) -> None:
        if init.status != READY:
            self._end()
            self._log_platform(init.report(phase))

    def _log_platform(self, line: str) -> None:
        """A line of Lambda itself, among the function's."""
        with self.log.open("a") as log:
            print(line, file=log)
        self.log_line(line)

    def _runtime_client(self) -> None:
        runtime = self.folder / "runtime"
        runtime.mkdir()
        for found in runtimes.client_files(self.runtime):
            (runtime / found.name).symlink_to(found)
        (runtime / RESOLVER.name).symlink_to(RESOLVER)

    def _start(self) -> Process:
        version = self.runtime.removeprefix("python")
        self._log_platform(f"INIT_START Runtime Version: python:{version}")
        environ = {
            "PATH": os.defpath,
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PYTHONPATH": f"{self.task}:{self.folder / 'runtime'}",
            # /var/task is read-only: what has no valid bytecode compiles every time.
            "PYTHONDONTWRITEBYTECODE": "1",
            "LAMBDA_TASK_ROOT": str(self.task),
            **self.variables,
        }
        module = RESOLVER.stem if HOSTS_VARIABLE in self.variables else "awslambdaric"
        command = [str(self.python), "-s", "-S", "-m", module, self.handler]
        return Process(command, self.task, environ, self.log)


def _date_as_in(archive: zipfile.ZipFile, folder: Path) -> None:
    """Lambda keeps the archive's dates, which decide whether bytecode is stale."""
    for info in archive.infolist():
        moment = time.mktime((*info.date_time, 0, 0, -1))
        os.utime(folder / info.filename, (moment, moment))


def _runtime_api(process: Process) -> type[BaseHTTPRequestHandler]:
    class RuntimeApi(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer, or each waits for a delayed ACK

        def do_GET(self) -> None:
            if not process.ready.is_set():
                process.init_cpu = process.cpu()
                process.ready.set()
            request = process.events.get()
            if request is None:
                self.close_connection = True
                return
            self._answer(
                200,
                request["body"],
                {
                    "Content-Type": "application/json",
                    "Lambda-Runtime-Aws-Request-Id": request["id"],
                    "Lambda-Runtime-Deadline-Ms": str(int(process.deadline * 1000)),
                    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:::function:f",
                    "Lambda-Runtime-Trace-Id": _trace_id(),
                },
            )

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.startswith(INVOCATION):
                process.answers.put((self.path.rsplit("/", 1)[1], body))
            self._answer(202, b"", {})

        def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return RuntimeApi


def _trace_id() -> str:
    identity = uuid.uuid4().hex
    return f"Root=1-{int(time.time()):08x}-{identity[:24]};Parent={identity[:16]};Sampled=0"
