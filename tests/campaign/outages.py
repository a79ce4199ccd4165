"""What a Region's clients see while its database is silent, stopped, unavailable or cut.

``python -m tests.campaign.outages`` prints a table: the longest request of each kind, the
statuses, and how long after the end of the fault all is well again. The settings are the
served ones.
"""

import http.client
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ops.local.sandbox.postgres import Postgres
from tests.campaign.regions import Client, Regions, regions

MOST_SECONDS, MOST_HEALTH_SECONDS, MOST_RETURN_SECONDS = 25.0, 3.0, 30.0
FAULT_SECONDS = 30.0  # longer than any request may take
PATIENCE_SECONDS = 60.0
WELL_SECONDS = 2.0  # without a failure before all is called well
CALM_SECONDS = 1.0
SERVED = "config.settings_ops"
Root = Path
Fault = Callable[[Regions, Root], None]


@dataclass(frozen=True)
class Sample:
    kind: str
    begun: float
    seconds: float
    result: str  # the status, and the code of a problem
    own: bool  # whether the local endpoint served it, or none was used

    @property
    def well(self) -> bool:
        return self.own and self.result[:1] == "2"


@dataclass
class Outage:
    """One line of the table."""

    name: str
    samples: list[Sample] = field(default_factory=list)
    ended: float = 0.0  # when the fault did

    def longest(self, *kinds: str) -> float:
        return max((s.seconds for s in self.samples if s.kind in kinds), default=0.0)

    def results(self, *kinds: str) -> str:
        found = Counter(s.result for s in self.samples if s.kind in kinds)
        return ", ".join(f"{count} x {result}" for result, count in found.most_common())

    @property
    def back(self) -> float:
        """Seconds from the fault's end to the last request that was not well."""
        bad = [s.begun + s.seconds for s in self.samples if not s.well]
        return max(0.0, max(bad, default=self.ended) - self.ended)

    @property
    def findings(self) -> list[str]:
        found = []
        if (seconds := self.longest("GET", "POST")) > MOST_SECONDS:
            found.append(f"{self.name}: a request took {seconds:.1f} s")
        if (seconds := self.longest("health")) > MOST_HEALTH_SECONDS:
            found.append(f"{self.name}: /health took {seconds:.1f} s")
        if self.back > MOST_RETURN_SECONDS:
            found.append(f"{self.name}: well again only after {self.back:.1f} s")
        allowed = {
            "200",
            "201",
            "503",
            "503 database_unavailable",
            "503 outcome_unknown",
        }
        found += [
            f"{self.name}: {sample.kind} {sample.result}"
            for sample in self.samples
            if sample.result not in allowed
        ]
        return found

    def line(self) -> str:
        return (
            f"{self.name:<32} {self.longest('GET', 'POST'):>7.2f} "
            f"{self.longest('health'):>7.2f} {self.back:>6.2f}  "
            f"GET {self.results('GET')}; POST {self.results('POST')}; "
            f"/health {self.results('health')}"
        )


HEAD = f"{'outage':<32} {'longest':>7} {'/health':>7} {'back':>6}  results"


class Load:
    """Clients of the primary Region, one request after the other each."""

    KINDS = ("GET", "GET", "POST", "POST", "health")

    def __init__(self, served: Regions, outage: Outage) -> None:
        self._served, self._outage = served, outage
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(k,)) for k in self.KINDS
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, kind: str) -> None:
        client = Client(self._served.servers[0].port)
        while not self._stop.wait(0.1):
            sample = ask(client, kind)
            with self._lock:
                self._outage.samples.append(sample)
        client.close()

    def await_well(self) -> None:
        """Until everything was well for a while, or patience ends."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            time.sleep(0.1)
            since = time.monotonic() - WELL_SECONDS
            with self._lock:
                recent = [
                    s for s in self._outage.samples if s.begun + s.seconds > since
                ]
            kinds = {sample.kind for sample in recent}
            over = since > self._outage.ended and kinds == set(self.KINDS)
            if over and all(sample.well for sample in recent):
                return


def ask(client: Client, kind: str) -> Sample:
    begun = time.monotonic()
    try:
        if kind == "POST":
            body = {"name": "load", "email": f"{uuid.uuid4()}@example.com"}
            answer = client.send("POST", "/users", body)
        else:
            answer = client.send(
                "GET", "/health" if kind == "health" else "/users?limit=5"
            )
    except (OSError, http.client.HTTPException) as error:
        result, own = type(error).__name__, True
    else:
        code = answer.body.get("code", "") if answer.status >= 400 else ""
        result, own = f"{answer.status} {code}".strip(), answer.database_region is None
    return Sample(kind, begun, time.monotonic() - begun, result, own)


def fault(kind: str, **fields: object) -> tuple[Fault, Fault]:
    """How a fault of the sandbox begins and ends."""

    def begin(served: Regions, _: Root) -> None:
        served.switch.add(kind, **fields)
        if kind.startswith(("cut", "refuse")):
            served.switch.add("cut", region=served.names[0])

    def end(served: Regions, _: Root) -> None:
        served.switch.clear()

    return begin, end


def postgres_processes(root: Root) -> list[int]:
    """PostgreSQL's first process and its children."""
    first = int((Postgres(root).data / "postmaster.pid").read_text().split()[0])
    words = ["ps", "-A", "-o", "pid=,ppid="]
    listed = subprocess.run(
        words, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    pairs = [tuple(map(int, line.split())) for line in listed]
    return [first, *(pid for pid, parent in pairs if parent == first)]


def signal_postgres(number: int, _: Regions, root: Root) -> None:
    for pid in postgres_processes(root):
        os.kill(pid, number)


def signal_sandbox(number: int, _: Regions, root: Root) -> None:
    """What listens for both Regions: connections are taken by the system, and no more."""
    os.kill(int((root / "pid").read_text()), number)


def kill_postgres(_: Regions, root: Root) -> None:
    """Now and whenever it was started again: the fault lasts until it is ended."""
    os.kill(postgres_processes(root)[0], signal.SIGQUIT)


def nothing(_: Regions, __: Root) -> None:
    """What was done once has no end."""


PRIMARY = {"region": "us-east-1"}
OUTAGES: Mapping[str, tuple[Fault, Fault]] = {
    "silent endpoint": fault("silent", **PRIMARY),
    "both endpoints silent": fault("silent"),
    "statements without an answer": fault("statement-delay", seconds=600.0, **PRIMARY),
    "silent after each commit": fault("silent-after-commit", **PRIMARY),
    "PostgreSQL frozen (SIGSTOP)": (
        partial(signal_postgres, signal.SIGSTOP),
        partial(signal_postgres, signal.SIGCONT),
    ),
    "both listeners frozen (SIGSTOP)": (
        partial(signal_sandbox, signal.SIGSTOP),
        partial(signal_sandbox, signal.SIGCONT),
    ),
    "PostgreSQL stopped": (kill_postgres, nothing),
    "XX000 at each statement": fault("unavailable-at-statement", **PRIMARY),
    "XX000 at every third statement": fault(
        "unavailable-at-statement", rate=0.3, **PRIMARY
    ),
    "XX000 at each COMMIT": fault("unavailable-at-commit", **PRIMARY),
    "XX000 after each COMMIT": fault("unavailable-after-commit", **PRIMARY),
    "XX000 at each login": fault("unavailable", **PRIMARY),
    "cut during set-up": fault("cut-after-login", **PRIMARY),
}
FROZEN = "frozen between requests"


def run(name: str, served: Regions, root: Root) -> Outage:
    """The named outage under load, until all is well again."""
    if name == FROZEN:
        return run_frozen(served)
    begin, end = OUTAGES[name]
    outage = Outage(name)
    with Load(served, outage) as load:
        time.sleep(CALM_SECONDS)
        begin(served, root)
        time.sleep(FAULT_SECONDS)
        end(served, root)
        outage.ended = time.monotonic()
        load.await_well()
    return outage


def run_frozen(served: Regions) -> Outage:
    """The server stands still between requests, as Lambda has it.

    Its endpoint is lost while a request is served, and back while it is frozen.
    """
    outage, client = Outage(FROZEN), Client(served.servers[0].port)
    deadline = time.monotonic() + FAULT_SECONDS + PATIENCE_SECONDS
    begun = time.monotonic()
    served.switch.add("down", **PRIMARY)
    outage.ended = float("inf")
    while time.monotonic() < deadline:
        for kind in ("GET", "POST", "health"):
            outage.samples.append(ask(client, kind))
        with frozen(served.processes[0]):
            time.sleep(3.0)
            if (
                outage.ended == float("inf")
                and time.monotonic() > begun + FAULT_SECONDS
            ):
                served.switch.clear()
                outage.ended = time.monotonic()
        if time.monotonic() > outage.ended and all(s.well for s in outage.samples[-3:]):
            break
    client.close()
    return outage


@contextmanager
def frozen(process: int) -> Iterator[None]:
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def main() -> int:
    names = sys.argv[1:] or [*OUTAGES, FROZEN]
    findings: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "sandbox"
        Path(folder).chmod(0o711)  # as root, PostgreSQL runs as another user below it
        with regions(root, settings=SERVED) as served:
            print(HEAD)
            for name in names:
                outage = run(name, served, root)
                findings += outage.findings
                print(outage.line(), flush=True)
            if findings:
                print((root / "servers.log").read_text()[-20_000:], file=sys.stderr)
    print("\n".join(findings))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
