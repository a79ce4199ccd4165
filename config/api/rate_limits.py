"""How often one caller may call: a token bucket per caller, in each process.

Approximate on purpose: a count shared by all processes would be one hot row in the
database for every request. API Gateway's stage throttle bounds the whole; this bounds
one caller's share of a process. Headers: IETF draft-ietf-httpapi-ratelimit-headers.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address

WINDOW_SECONDS = 60
MAX_CALLERS = 10_000
FORGOTTEN_AT_ONCE = 10  # one in so many: to look for them costs as much as one


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a caller has left after one request, and the seconds until more or all is."""

    limit: int
    remaining: int
    full_in: int
    wait: int  # 0: the request is allowed
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        headers = {
            "RateLimit-Policy": f'"caller";q={self.limit};w={WINDOW_SECONDS}',
            "RateLimit": f'"caller";r={self.remaining};t={self.full_in}',
        }
        object.__setattr__(self, "headers", headers)


class Buckets:
    """Each caller's tokens; they refill evenly over the window."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, caller: str, limit: int) -> Allowance:
        """Take one of the caller's ``limit`` tokens per window."""
        with self._lock:
            now, rate = self._clock(), limit / WINDOW_SECONDS
            if caller not in self._levels and len(self._levels) >= MAX_CALLERS:
                self._forget(limit, rate)
            level, at = self._levels.get(caller, (float(limit), now))
            level = min(limit, level + max(0.0, now - at) * rate)
            allowed = level >= 1
            level -= allowed
            self._levels[caller] = (level, now)
        wait = 0 if allowed else math.ceil((1 - level) / rate)
        return Allowance(limit, int(level), math.ceil((limit - level) / rate), wait)

    def _forget(self, limit: int, rate: float) -> None:
        """Make room: a full bucket is what a new caller has, so the fullest ones go first.

        Were it the longest silent ones, a caller with many addresses could have an
        emptied bucket forgotten, and so filled.
        """

        def full_at(caller: str) -> float:
            level, at = self._levels[caller]
            return at + (limit - level) / rate

        fullest = sorted(self._levels, key=full_at)
        for caller in fullest[: math.ceil(len(fullest) / FORGOTTEN_AT_ONCE)]:
            del self._levels[caller]

    def clear(self) -> None:
        with self._lock:
            self._levels.clear()


BUCKETS = Buckets()


def take(caller: str, address: str, limit: int) -> Allowance:
    """Take a token of the caller's, or of the address where the caller is unknown ("")."""
    named = f"caller {caller}" if caller else f"address {client_network(address)}"
    return BUCKETS.take(named, limit)


def client_network(address: str) -> str:
    """What counts as one caller: an IPv4 address, or the /64 that one IPv6 customer has.

    RFC 4291, section 2.5.4: the last 64 bits are the interface's, chosen at will.
    """
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else f"{int(parsed) >> 64:x}::/64"
