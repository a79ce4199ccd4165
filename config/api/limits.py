"""How often one caller may call: a token bucket per caller, kept by each process.

Approximate on purpose: a count shared by all processes would be one hot row in the
database for every request. API Gateway's stage throttle bounds the whole; this bounds
one caller's share of a process. Headers: IETF draft-ietf-httpapi-ratelimit-headers.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

WINDOW_SECONDS = 60
MAX_CALLERS = 10_000  # the longest silent ones are forgotten


@dataclass(frozen=True, slots=True)
class Taken:
    """The outcome of one request: what is left, and the seconds until more or all is."""

    limit: int
    remaining: int
    full_in: int
    wait: int  # 0: the request may go on

    @property
    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Policy": f'"caller";q={self.limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"caller";r={self.remaining};t={self.full_in}',
        }


class Buckets:
    """Each caller's tokens; they refill evenly over the window."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str, limit: int) -> Taken:
        """Take one of the caller's ``limit`` tokens per window."""
        with self._lock:
            now, rate = self._clock(), limit / WINDOW_SECONDS
            level, at = self._levels.pop(caller, (float(limit), now))
            level = min(limit, level + max(0.0, now - at) * rate)
            allowed = level >= 1
            level -= allowed
            self._levels[caller] = (level, now)
            if len(self._levels) > MAX_CALLERS:
                self._levels.popitem(last=False)
        wait = 0 if allowed else math.ceil((1 - level) / rate)
        return Taken(limit, int(level), math.ceil((limit - level) / rate), wait)

    def clear(self) -> None:
        with self._lock:
            self._levels.clear()


BUCKETS = Buckets()
