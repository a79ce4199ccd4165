"""The primary endpoint lost and found again under load: who noticed, and for how long.

Reads and writes reach the primary Region's server at a steady rate, whatever earlier
ones take; midway its endpoint cuts its connections and refuses new ones.
"""

import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ops.local.sandbox.lifecycle import Status
from tests.benchmarks.figures import Figure
from tests.campaign.regions import Answer, Client, Regions, serving

CLIENTS = 16
RATE = 50  # requests a second
PHASE = 10.0  # seconds each: well, lost, well again


@dataclass(frozen=True)
class Sample:
    """One request: when it was due and answered (seconds from the start), and how."""

    due: float
    answered: float
    answer: Answer

    @property
    def failed(self) -> bool:
        return self.answer.status >= 400

    @property
    def by_peer(self) -> bool:
        return not self.failed and self.answer.database_region is not None

    @property
    def by_own(self) -> bool:
        return not self.failed and self.answer.database_region is None


def load(served: Regions) -> list[Sample]:
    """The answers of all three phases; every fifth request is a write."""
    local = threading.local()
    started = time.monotonic()

    def one(number: int) -> Sample:
        if not hasattr(local, "client"):
            local.client = Client(served.servers[0].port)
        due = number / RATE
        time.sleep(max(0.0, due - (time.monotonic() - started)))
        if number % 5:
            answer = local.client.send("GET", "/users?limit=10")
        else:
            body = {"name": "load", "email": f"{uuid.uuid4()}@example.com"}
            answer = local.client.send("POST", "/users", body)
        return Sample(due, time.monotonic() - started, answer)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(one, range(int(3 * PHASE * RATE))))


def measure(status: Status) -> list[Figure]:
    with serving(status) as served:
        region = served.names[0]
        timers = [
            threading.Timer(PHASE, served.switch.add, ("down",), {"region": region}),
            threading.Timer(2 * PHASE, served.switch.clear),
        ]
        for timer in timers:
            timer.start()
        try:
            samples = load(served)
        finally:
            for timer in timers:
                timer.join()
    return figures(samples)


def figures(samples: list[Sample]) -> list[Figure]:
    lost, found = PHASE, 2 * PHASE
    before = [s for s in samples if s.answered <= lost]
    since = [s for s in samples if s.answered > lost]
    failures = [s for s in since if s.failed]
    by_peer = [s.answered for s in since if s.by_peer]
    home = [s.answered for s in samples if s.by_own and s.due >= found]
    codes = Counter(f"{s.answer.status} {s.answer.body.get('code')}" for s in failures)
    return [
        Figure("requests", len(samples), "", note=f"{RATE}/s, {CLIENTS} clients"),
        Figure("failed before the loss", sum(s.failed for s in before), "", at_most=0),
        Figure(
            "failed from the loss on",
            len(failures),
            "",
            at_most=CLIENTS,  # those under way at that moment
            note=", ".join(f"{count} x {code}" for code, count in codes.items()),
        ),
        Figure("loss to first answer by the peer", min(by_peer) - lost, "s", at_most=5),
        Figure("return to first answer by the own", min(home) - found, "s", at_most=5),
        Figure("return to last answer by the peer", max(by_peer) - found, "s"),
        Figure("slowest answer before the loss", slowest(before), "s"),
        Figure("slowest answer from the loss on", slowest(since), "s"),
    ]


def slowest(samples: list[Sample]) -> float:
    return max(sample.answered - sample.due for sample in samples)
