"""What is counted while a request is served, and the ids that its log lines carry."""

import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from config.dsql.signals import conflict_retried, connected


@dataclass(slots=True)
class Measures:
    """The ids and counts of one request; before the first request, those of start-up."""

    request_id: str = ""
    trace_id: str = ""
    xray_id: str = ""
    cold_start: bool = False
    connect_ms: float = 0.0
    conflicts: int = 0
    failovers: int = 0
    started: float = field(default_factory=time.perf_counter)

    @property
    def ids(self) -> dict[str, str]:
        named = {
            "request_id": self.request_id,
            "trace_id": self.trace_id,
            "xray_trace_id": self.xray_id,
        }
        return {name: value for name, value in named.items() if value}


# Lambda serves one request at a time; a development server has one context a thread.
start_up = Measures(cold_start=True)
current: ContextVar[Measures] = ContextVar("measures", default=start_up)


def request_id() -> str:
    """The id of the request being served, or "" outside of one."""
    return current.get().request_id


def _on_connected(*, seconds: float, at_peer: bool, **_: Any) -> None:
    measures = current.get()
    measures.connect_ms += seconds * 1000
    measures.failovers += at_peer


def _on_conflict(**_: Any) -> None:
    current.get().conflicts += 1


connected.connect(_on_connected)
conflict_retried.connect(_on_conflict)
