"""One function of Lambda in this fresh process; reads lists of events, writes what they took.

Arguments: the unpacked package, the handler's dotted name, the directory of what Lambda's
runtime brings. Run with ``python -I -S -B``: nothing else can be imported, and no bytecode
is kept, for /var/task is read-only.
"""

import gc
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

CONTEXT = SimpleNamespace(
    aws_request_id="00000000-0000-4000-8000-000000000000",
    function_name="benchmark",
    memory_limit_in_mb="512",
    get_remaining_time_in_millis=lambda: 29_000,
)


def main(task: str, handler: str, runtime: str) -> None:
    # Results go to the standard output of the start; functions may print to it later.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    def report(**values: Any) -> None:
        print(json.dumps(values), file=results, flush=True)

    try:
        sys.path[:0] = [task, runtime]
        importlib.import_module("awslambdaric.bootstrap")  # has run before any handler
        started = time.process_time()
        module, _, function = handler.rpartition(".")
        handle = getattr(importlib.import_module(module), function)
        report(cpu=time.process_time() - started)
        for line in sys.stdin:
            report(**invoke(handle, json.loads(line)))
    except Exception:  # noqa: BLE001 - whatever it is, the harness shows it
        report(error=traceback.format_exc())


def invoke(handle: Any, events: list[Any]) -> dict[str, Any]:
    """CPU seconds of all; of the responses every status and the last one as a whole."""
    statuses, response = [], {}
    gc.collect()
    before = time.process_time()
    for event in events:
        response = handle(event, CONTEXT)
        statuses.append(response["statusCode"])
    spent = time.process_time() - before
    return {
        "cpu": spent,
        "statuses": statuses,
        "response": response,
        "rss": peak_rss(),
        "modules": len(sys.modules),
    }


def peak_rss() -> int:
    """Bytes; getrusage would tell those of the process that started this one, too."""
    with Path("/proc/self/status").open() as status:
        line = next(row for row in status if row.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
