"""X-Ray subsegments for database work in a request; statements without parameters.

X-Ray developer guide, "Sending trace data to X-Ray" and "X-Ray segment documents": a
datagram to the daemon that Lambda runs. Nothing waits for it, and a failure to send changes nothing.
"""

import json
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.conf import settings
from django.db import connection

from config.dsql.signals import connected

HEADER = b'{"format": "json", "version": 1}\n'
SAMPLED = re.compile(
    r"Root=(1-[0-9a-f]{8}-[0-9a-f]{24});Parent=([0-9a-f]{16});Sampled=1"
)
MAX_QUERY = 1000  # characters; the daemon takes 64 KiB a datagram


@contextmanager
def traced() -> Iterator[None]:
    """Trace every statement inside, if XRAY_SUBSEGMENTS asks for it."""
    if not settings.XRAY_SUBSEGMENTS:
        yield
        return
    with connection.execute_wrapper(_statement):
        yield


def _statement(
    execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
) -> Any:
    started, failed = time.time(), True
    try:
        result = execute(sql, params, many, context)
        failed = False
        return result
    finally:
        query = {"sanitized_query": sql[:MAX_QUERY], "database_type": "Aurora DSQL"}
        _send("dsql statement", started, failed=failed, sql=query)


def _on_connected(*, host: str, seconds: float, **_: Any) -> None:
    if settings.XRAY_SUBSEGMENTS:
        _send("dsql connect", time.time() - seconds, sql={"url": host})


def _send(name: str, started: float, *, failed: bool = False, **fields: Any) -> None:
    """One finished subsegment of the invocation, if X-Ray samples that."""
    trace = SAMPLED.search(os.environ.get("_X_AMZN_TRACE_ID", ""))
    host, _, port = os.environ.get("AWS_XRAY_DAEMON_ADDRESS", "").partition(":")
    if trace is None or not port.isdigit():
        return
    subsegment = {
        "type": "subsegment",
        "namespace": "remote",
        "name": name,
        "id": secrets.token_hex(8),
        "trace_id": trace[1],
        "parent_id": trace[2],
        "start_time": started,
        "end_time": time.time(),
        "fault": failed,
        **fields,
    }
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.sendto(HEADER + json.dumps(subsegment).encode(), (host, int(port)))


connected.connect(_on_connected)
