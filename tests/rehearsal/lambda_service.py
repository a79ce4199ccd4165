"""Lambda as far as a function notices: its package unpacked, its variables, the Runtime API.

Lambda developer guide, "Using the Lambda runtime API for custom runtimes". The function
runs in AWS's own runtime client (awslambdaric) with nothing else on its import path.
"""

import io
import json
import os
import queue
import shutil
import site
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# What the managed runtime brings besides Python; here it comes from the environment.
RUNTIME_CLIENT = ("awslambdaric", "runtime_client", "simplejson", "snapshot_restore_py")
INVOCATION = "/2018-06-01/runtime/invocation"
START_SECONDS = 60.0


class FunctionError(Exception):
    """The function ended with an error instead of an answer."""


class QuietServer(ThreadingHTTPServer):
    """Says nothing of clients that hang up: a function is killed while it waits."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Function:
    """One execution environment, started at once and ended by ``close``."""

    def __init__(
        self, package: bytes, handler: str, variables: Mapping[str, str], timeout: float
    ) -> None:
        self.timeout = timeout
        self.folder = Path(tempfile.mkdtemp(prefix="rehearsal-function-"))
        self.log = self.folder / "log.txt"
        self.task = self.folder / "task"
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            archive.extractall(self.task)
            _date_as_in(archive, self.task)
        self._runtime_client()
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.answers: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.ready = threading.Event()
        self.init_cpu = 0.0
        self.lock = threading.Lock()
        self.server = QuietServer(("127.0.0.1", 0), _runtime_api(self))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.process = self._start(handler, variables)

    def invoke(self, event: Mapping[str, Any]) -> Any:
        """The handler's answer. Raises FunctionError, as API Gateway would answer 502."""
        with self.lock:
            self._await_ready()
            request = {"id": str(uuid.uuid4()), "body": json.dumps(event).encode()}
            self.events.put(request)
            try:
                kind, body = self.answers.get(timeout=self.timeout)
            except queue.Empty:
                raise FunctionError(f"No answer in {self.timeout} s") from None
        if kind != "response":
            raise FunctionError(body.decode())
        return json.loads(body)

    def cpu(self) -> float:
        """CPU seconds that the process has used."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        spent = [
            (each / "schedstat").read_text().split()[0] for each in tasks.iterdir()
        ]
        return sum(map(int, spent)) / 1e9

    def rss(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(row for row in status.splitlines() if row.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.server.shutdown()
        self.server.server_close()
        shutil.rmtree(self.folder)

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.ready.wait(0.05):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise FunctionError(
                    f"It did not start:\n{self.log.read_text()[-2000:]}"
                )

    def _runtime_client(self) -> None:
        runtime = self.folder / "runtime"
        runtime.mkdir()
        packages = Path(site.getsitepackages()[0])
        for name in RUNTIME_CLIENT:
            for found in packages.glob(f"{name}*"):
                (runtime / found.name).symlink_to(found)

    def _start(
        self, handler: str, variables: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        host, port = self.server.server_address[:2]
        environ = {
            "PATH": os.defpath,
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            "PYTHONPATH": f"{self.task}:{self.folder / 'runtime'}",
            # /var/task is read-only: what has no valid bytecode compiles every time.
            "PYTHONDONTWRITEBYTECODE": "1",
            "LAMBDA_TASK_ROOT": str(self.task),
            "AWS_LAMBDA_RUNTIME_API": f"{host!s}:{port}",
            **variables,
        }
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-s", "-S", "-m", "awslambdaric", handler],
                cwd=self.task, env=environ, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip


def _date_as_in(archive: zipfile.ZipFile, folder: Path) -> None:
    """Lambda keeps the archive's dates, which decide whether bytecode is stale."""
    for info in archive.infolist():
        moment = time.mktime((*info.date_time, 0, 0, -1))
        os.utime(folder / info.filename, (moment, moment))


def _runtime_api(function: Function) -> type[BaseHTTPRequestHandler]:
    class RuntimeApi(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet an answer, or each waits for a delayed ACK

        def do_GET(self) -> None:
            if not function.ready.is_set():
                function.init_cpu = function.cpu()
                function.ready.set()
            request = function.events.get()
            deadline = int((time.time() + function.timeout) * 1000)
            self._answer(
                200,
                request["body"],
                {
                    "Content-Type": "application/json",
                    "Lambda-Runtime-Aws-Request-Id": request["id"],
                    "Lambda-Runtime-Deadline-Ms": str(deadline),
                    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:::function:f",
                    "Lambda-Runtime-Trace-Id": _trace_id(),
                },
            )

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.startswith(INVOCATION):
                function.answers.put((self.path.rsplit("/", 1)[1], body))
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
