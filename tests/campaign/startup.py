"""What a function's init and its first two requests meet while the database is away.

``python -m tests.campaign.startup`` prints a table: the seconds of the init, of its
``prepare()`` and of each request, with their statuses. The package is the deployed one,
and Lambda the rehearsal's, which ends an init after ten seconds and repeats it.
"""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from ops.local import processes
from ops.local.sandbox import lifecycle
from ops.local.sandbox.fault_control import FaultClient
from ops.paths import PROJECT
from tests.rehearsal import runtimes
from tests.rehearsal.gateway import proxy_event
from tests.rehearsal.lambda_service import (
    HOSTS_VARIABLE,
    READY,
    Function,
    FunctionError,
)

HANDLER = "config.on_lambda.start.lambda_handler"
TIMEOUT = 30.0  # LAMBDA_TIMEOUT
MOST_PREPARE_SECONDS = 2.0
MOST_SECONDS = 29.0  # what API Gateway waits, for the init too
DOCUMENTED = "503 database_unavailable"
PREPARED = re.compile(r"Start-up (?:was done in|ended after) ([\d.]+) s")
HOST = "api123.execute-api.us-east-1.amazonaws.com"
ALIVE = "127.0.0.1"
DEAD = ("127.0.0.11", "127.0.0.12", "127.0.0.13")
PRIMARY = {"region": "us-east-1"}


@dataclass(frozen=True, slots=True)
class Case:
    """What is wrong, until so many seconds after the init began; None: all the time."""

    faults: tuple[Mapping[str, Any], ...] = ()
    seconds: float | None = None
    dead: tuple[str, ...] = ()  # roles whose names lead to addresses that are dead


CASES: Mapping[str, Case] = {
    "nothing": Case(),
    "waking up for 8 s": Case(({"kind": "waking-up"},), 8.0),
    "waking up for 20 s": Case(({"kind": "waking-up"},), 20.0),
    "own Region waking up": Case(({"kind": "waking-up", **PRIMARY},)),
    "logins take 3 s": Case(({"kind": "connect-delay", "seconds": 3.0},)),
    "logins take 8 s": Case(({"kind": "connect-delay", "seconds": 8.0},)),
    "three dead addresses": Case(dead=("primary",)),
    "three dead addresses, both Regions": Case(dead=("primary", "secondary")),
    "own Region silent": Case(({"kind": "silent", **PRIMARY},)),
    "both Regions silent": Case(({"kind": "silent"},)),
    "login refused": Case(({"kind": "revoked-credentials"},)),
}


@dataclass
class Start:
    """One line of the table."""

    name: str
    init: float = 0.0
    init_status: str = ""
    prepared: float | None = None
    requests: list[tuple[float, str]] = field(default_factory=list)
    log: str = ""

    @property
    def findings(self) -> list[str]:
        found = []
        if self.init_status != READY:
            found.append(f"{self.name}: init {self.init_status}")
        if self.prepared is None or self.prepared > MOST_PREPARE_SECONDS:
            found.append(f"{self.name}: prepare() took {self.prepared} s")
        # The caller of the first one waits for the init, too.
        for waited, (seconds, status) in zip(
            (self.init, 0.0), self.requests, strict=True
        ):
            if waited + seconds >= MOST_SECONDS:
                found.append(f"{self.name}: a request took {waited + seconds:.1f} s")
            if status not in ("200", DOCUMENTED):
                found.append(f"{self.name}: {status}")
        return found

    def line(self) -> str:
        requests = "  ".join(
            f"{seconds:>6.2f} {status:<24}" for seconds, status in self.requests
        )
        return (
            f"{self.name:<36} {self.init:>6.2f} {self.init_status:<8} "
            f"{self.prepared or 0.0:>8.2f}  {requests}"
        ).rstrip()


HEAD = (
    f"{'database':<36} {'init':>6} {'':<8} {'prepare':>8}  "
    f"{'first':>6} {'':<24}  {'second':>6}"
)


class Starts:
    """A migrated sandbox and the package whose functions start in front of it."""

    def __init__(self, status: lifecycle.Status, package: bytes) -> None:
        self.status, self.package = status, package
        self.switch = FaultClient(status.root)

    def run(self, name: str) -> Start:
        """A new function while what the case names is wrong, which ends afterwards."""
        case, start = CASES[name], Start(name)
        with ExitStack() as stack:
            stack.callback(self.switch.clear)
            if case.dead:
                stack.enter_context(dead_addresses(self.status.port))
            for fault in case.faults:
                self.switch.add(**fault)
            function = Function(
                self.package, HANDLER, self._variables(case), TIMEOUT,
                runtime=runtimes.choose_runtime(),
            )  # fmt: skip
            stack.callback(function.close)
            if case.seconds is not None:  # the init has just begun
                over = threading.Timer(case.seconds, self.switch.clear)
                over.start()
                stack.callback(over.join)
                stack.callback(over.cancel)
            init = function.init()
            start.init, start.init_status = init.seconds, init.status
            if found := PREPARED.search(function.log.read_text()):
                start.prepared = float(found[1])
            for _ in range(2):
                start.requests.append(request(function))
            start.log = function.log.read_text()
        return start

    def _variables(self, case: Case) -> dict[str, str]:
        """What a deployment sets, and how the sandbox is found: by name."""
        network = self.status.environ()
        del network["PGHOSTADDR"]
        hosts = {
            region.endpoint: DEAD if region.role in case.dead else (ALIVE,)
            for region in self.status.regions
        }
        return {
            **network,
            HOSTS_VARIABLE: json.dumps(hosts),
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "DJANGO_SECRET_KEY": "k" * 50,
            "API_AUTH": "none",
            "LOG_FORMAT": "json",
        }


def request(function: Function) -> tuple[float, str]:
    """Seconds and status of one that needs the database, with a problem's code."""
    headers = Message()
    headers["Host"] = HOST
    event = proxy_event("GET", HOST, "prod", "/users", "limit=1", headers, b"")
    begun = time.monotonic()
    try:
        answer = function.invoke(event)
    except FunctionError as error:
        result = str(error).splitlines()[0]
    else:
        problem = answer["statusCode"] >= 400
        code = json.loads(answer["body"])["code"] if problem else ""
        result = f"{answer['statusCode']} {code}".strip()
    return time.monotonic() - begun, result


@contextmanager
def dead_addresses(port: int) -> Iterator[None]:
    """At each of DEAD, what opens a connection to the port waits for ever.

    Linux drops a SYN while a listener's queue is full, as a dead host does with all.
    """
    with ExitStack() as stack:
        for address in DEAD:
            listener = stack.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(0)
            for _ in range(2):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex((address, port))
        yield


@contextmanager
def starts(folder: Path) -> Iterator[Starts]:
    """In the folder, a new sandbox and the package of this commit."""
    root = folder / "sandbox"
    with ExitStack() as stack:
        stack.callback(lifecycle.reset, root)
        status = lifecycle.up(root)
        with (folder / "migrate.log").open("w") as log:

            def say(line: str) -> None:
                print(line, file=log)

            processes.manage("migrate", status.environ(), say)
        yield Starts(status, package(folder / "package.zip"))


def package(archive: Path) -> bytes:
    """The deployed package, as ``zappa package`` makes it."""
    outside = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    outside["LAMBDA_RUNTIME"] = runtimes.choose_runtime()
    zappa = str(Path(sys.executable).with_name("zappa"))
    subprocess.run(
        [zappa, "package", "primary", "--output", str(archive)],
        cwd=PROJECT, env=outside, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return archive.read_bytes()


def main() -> int:
    names = sys.argv[1:] or [*CASES]
    findings: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # as root, PostgreSQL runs as another user below it
        with starts(Path(folder)) as ready:
            print(HEAD)
            for name in names:
                start = ready.run(name)
                print(start.line(), flush=True)
                if start.findings:
                    print(start.log, file=sys.stderr)
                findings += start.findings
    print("\n".join(findings))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
