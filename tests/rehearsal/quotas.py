"""API Gateway's quotas of its control plane, an account's in each Region.

Developer guide, "API Gateway quotas for creating, deploying and managing a REST API".
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

REFUSED = (
    429,
    {"x-amzn-errortype": "TooManyRequestsException"},
    '{"message": "Too Many Requests"}',
)
BUCKETS = {
    "CreateDeployment": ("POST", r"/restapis/[^/]+/deployments", 1, 5),
    "CreateDomainName": ("POST", r"/domainnames", 1, 30),
    "CreateResource": ("POST", r"/restapis/[^/]+/resources/[^/]+", 5, 1),
    "CreateRestApi": ("POST", r"/restapis", 1, 3),
    "DeleteResource": ("DELETE", r"/restapis/[^/]+/resources/[^/]+", 5, 1),
    "DeleteRestApi": ("DELETE", r"/restapis/[^/]+", 1, 30),
    "GetResources": ("GET", r"/restapis/[^/]+/resources", 5, 2),
    "PutRestApi": ("PUT", r"/restapis/[^/]+", 1, 1),
    "UpdateAccount": ("PATCH", r"/account", 1, 20),
    "UpdateUsagePlan": ("PATCH", r"/usageplans/[^/]+", 1, 20),
}  # fmt: skip
ALL_A_SECOND, BURST = 10.0, 40.0  # of all of them together


@dataclass(slots=True)
class Bucket:
    """Tokens that come back with time."""

    size: float
    a_second: float
    tokens: float
    at: float

    def take(self, now: float) -> bool:
        self.tokens = min(self.size, self.tokens + (now - self.at) * self.a_second)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Quotas:
    """``refused`` are the operations that were answered 429, in order."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.buckets: dict[tuple[str, str], Bucket] = {}
        self.refused: list[str] = []

    def allow(self, region: str, method: str, path: str) -> bool:
        operation = next(
            (
                name
                for name, (verb, pattern, _, _) in BUCKETS.items()
                if verb == method and re.fullmatch(pattern, path)
            ),
            "any",
        )
        _, _, calls, seconds = BUCKETS.get(operation, ("", "", BURST, 0))
        rate = calls / seconds if seconds else ALL_A_SECOND
        limits = {operation: (calls, rate), "any": (BURST, ALL_A_SECOND)}
        now = self.clock()
        for name, (size, a_second) in limits.items():
            bucket = self.buckets.setdefault(
                (region, name), Bucket(size, a_second, size, now)
            )
            if not bucket.take(now):
                self.refused.append(operation)
                return False
        return True

    def over(self, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """moto's ``call_action`` of API Gateway, with these over it."""

        def call_action(response: Any) -> Any:
            path = response.path.rstrip("/")
            if self.allow(response.region, response.method, path):
                return call(response)
            return REFUSED

        return call_action
