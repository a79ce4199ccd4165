"""The campaign: writers, the faults between their operations, and the verdict."""

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.campaign.ledger import DOMAIN, MADE, UNKNOWN, UNMADE, Entry, Ledger
from tests.campaign.regions import Answer, Client, Regions

WRITERS = 4
OPERATIONS_PER_FAULT = 10
MOST_CONNECTIONS = 2 * (WRITERS + 2)  # of both servers' threads
# The documented 503s and what each says about the write.
REFUSALS = {
    "write_conflict": UNMADE,
    "database_unavailable": UNMADE,
    "outcome_unknown": UNKNOWN,
}
# What each kind of fault takes. Faults of logins come with a cut: else nobody logs in.
Ranges = dict[str, tuple[float, float]]
FEW: Ranges = {"times": (1, 3)}
MENU: tuple[tuple[str, Ranges], ...] = (
    ("down", {}),
    ("cut", {}),
    ("refuse", FEW),
    ("connect-delay", {"seconds": (0.05, 0.3), **FEW}),
    ("statement-delay", {"seconds": (0.005, 0.05)}),
    ("session-end", {"seconds": (0.02, 0.2)}),
    ("conflict", {"rate": (0.2, 0.6)}),
    ("conflict", FEW),
    ("cut-before-statement", FEW),
    ("cut-before-statement", {"statement": (1, 4), **FEW}),
    ("cut-after-statement", FEW),
    ("cut-after-commit", FEW),
    ("cut-after-login", FEW),
    ("unavailable-at-statement", FEW),
    ("unavailable-at-statement", {"rate": (0.1, 0.4)}),
    ("unavailable-at-commit", FEW),
    ("unavailable-after-commit", FEW),
    ("silent", FEW),
    ("silent-after-commit", FEW),
    ("waking-up", FEW),
    ("too-many-connections", FEW),
    ("rate-exceeded", FEW),
    ("unavailable", FEW),
    ("expired-credentials", FEW),
    ("revoked-credentials", FEW),
)
WHOLE = {"times", "statement"}
RETURN_SECONDS = 30.0  # a thread keeps its connection while it is idle for half of it
MOST_SECONDS = 28.0  # API Gateway waits 29 for a response


@dataclass
class Report:
    seed: int
    operations: int
    seconds: float = 0.0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    ordered: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    by_peer: int = 0
    longest: float = 0.0  # seconds of a request
    rows: int = 0
    findings: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        yield f"seed {self.seed}, {self.operations} operations in {self.seconds:.1f} s"
        yield f"{'operation':<10} {'answer':<24} {'count':>6}"
        for (operation, outcome), count in sorted(self.outcomes.items()):
            yield f"{operation:<10} {outcome:<24} {count:>6}"
        yield f"{'answered through the peer endpoint':<35} {self.by_peer:>6}"
        yield f"{'longest request, seconds':<35} {self.longest:>6.2f}"
        yield f"{'fault':<24} {'ordered':>9} {'struck':>6}"
        for kind in sorted(self.ordered):
            yield f"{kind:<24} {self.ordered[kind]:>9} {self.struck[kind]:>6}"
        yield f"{self.rows} rows stored; findings: {len(self.findings)}"
        yield from (f"  {finding}" for finding in self.findings)


class Campaign:
    """``run`` returns the report; ``findings`` in it must be empty."""

    def __init__(self, regions: Regions, *, operations: int, seed: int) -> None:
        self._regions = regions
        self._ledger = Ledger()
        self._gremlin = random.Random(seed)
        self._lock = threading.Lock()
        self._numbers = iter(range(operations))
        self.report = Report(seed, operations)

    def run(self) -> Report:
        started = time.monotonic()
        with ThreadPoolExecutor(WRITERS) as pool:
            writers = [
                Writer(self, random.Random(f"{self.report.seed}/{number}"), number)
                for number in range(WRITERS)
            ]
            for working in [pool.submit(writer.work) for writer in writers]:
                working.result()
        self._lift()
        self._audit()
        self.report.seconds = time.monotonic() - started
        return self.report

    def next_operation(self) -> int | None:
        """The number of the next operation; every tenth comes with another fault."""
        with self._lock:
            number = next(self._numbers, None)
            if number is not None and number % OPERATIONS_PER_FAULT == 0:
                self._lift()
                self._order()
            return number

    def note(self, operation: str, answer: Answer | None, seconds: float) -> str:
        """Count an answer and its time; what it says about the write."""
        with self._lock:
            self.report.longest = max(self.report.longest, seconds)
            if seconds > MOST_SECONDS:
                self.report.findings.append(f"{operation}: took {seconds:.1f} s")
            if answer is None:
                self.report.findings.append(f"{operation}: no answer")
                return UNKNOWN
            code = answer.body.get("code", "") if answer.status >= 400 else ""
            self.report.outcomes[operation, f"{answer.status} {code}".strip()] += 1
            self.report.by_peer += answer.database_region is not None
            if answer.status in {200, 201}:
                return MADE
            if answer.status != 503 or code not in REFUSALS:
                self.report.findings.append(f"{operation}: {answer.status} {code}")
            return REFUSALS.get(code, UNKNOWN)

    def opened(self, mark: str, outcome: str, key: str | None) -> Entry:
        return self._ledger.opened(mark, outcome, key)

    def _order(self) -> None:
        kind, ranges = self._gremlin.choice(MENU)
        fields: dict[str, Any] = {"region": self._gremlin.choice(self._regions.names)}
        for name, (low, high) in ranges.items():
            chosen = self._gremlin.uniform(low, high)
            fields[name] = round(chosen) if name in WHOLE else round(chosen, 3)
        self._regions.switch.add(kind, **fields, seed=self._gremlin.randrange(10**6))
        if kind not in {"down", "cut", "statement-delay", "conflict"}:
            self._regions.switch.add("cut", region=fields["region"])
        self.report.ordered[kind] += 1

    def _lift(self) -> None:
        for fault in self._regions.switch.list():
            self.report.struck[fault["kind"]] += fault["struck"]
        self._regions.switch.clear()

    def _audit(self) -> None:
        clients = self._regions.clients()
        for name, client in zip(self._regions.names, clients, strict=True):
            if not _serves_from_own(client):
                self.report.findings.append(f"{name} did not return to its endpoint")
        views = [list(_rows(client)) for client in clients]
        if views[0] != views[1]:
            self.report.findings.append("the Regions show different rows")
        self.report.rows = len(views[0])
        self.report.findings += self._ledger.audit(views[0])
        for client in clients:
            client.close()
        open_ones = self._regions.switch.connections()
        # A server's thread keeps its connection for the next request.
        if sum(open_ones.values()) > MOST_CONNECTIONS:
            self.report.findings.append(f"connections were lost: {open_ones}")


@dataclass
class Writer:
    """One client of both Regions, with users nobody else changes."""

    campaign: Campaign
    chance: random.Random
    number: int
    users: list[Entry] = field(default_factory=list)

    def work(self) -> None:
        clients = self.campaign._regions.clients()
        while (number := self.campaign.next_operation()) is not None:
            mark = f"w{self.number}-{number}"
            client = self.chance.choice(clients)
            known = [user for user in self.users if user.key is not None]
            if known and self.chance.random() < 0.55:
                self._update(client, self.chance.choice(known), mark)
            else:
                self._create(client, mark)
        for client in clients:
            client.close()

    def _create(self, client: Client, mark: str) -> None:
        answer, seconds = _send(client, "POST", "/users", mark)
        outcome = self.campaign.note("create", answer, seconds)
        key = answer.body["id"] if answer is not None and outcome == MADE else None
        self.users.append(self.campaign.opened(mark, outcome, key))

    def _update(self, client: Client, user: Entry, mark: str) -> None:
        answer, seconds = _send(client, "PATCH", f"/users/{user.key}", mark)
        user.wrote(mark, self.campaign.note("update", answer, seconds))


def _send(
    client: Client, method: str, path: str, mark: str
) -> tuple[Answer | None, float]:
    """The answer, None without one, and the seconds it took."""
    answer, begun = None, time.monotonic()
    with suppress(OSError, http.client.HTTPException):
        answer = client.send(method, path, {"name": mark, "email": mark + DOMAIN})
    return answer, time.monotonic() - begun


def _serves_from_own(client: Client) -> bool:
    deadline = time.monotonic() + RETURN_SECONDS
    while time.monotonic() < deadline:
        answer = client.send("GET", "/users?limit=1")
        if answer.status == 200 and answer.database_region is None:
            return True
        time.sleep(0.05)
    return False


def _rows(client: Client) -> Iterator[dict[str, Any]]:
    path: str | None = "/users?limit=100"
    while path:
        page = client.send("GET", path).body
        yield from page["users"]
        path = page["next"]
