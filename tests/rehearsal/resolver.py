"""The name server of a rehearsed function, then the runtime client as Lambda starts it.

Runs inside the function's process, before anything of the function: names that
REHEARSAL_HOSTS tells have the addresses that it tells, and no other is asked for them.
"""

import json
import os
import runpy
import socket
from typing import Any

ADDRESSES: dict[str, list[str]] = json.loads(os.environ["REHEARSAL_HOSTS"])
_system = socket.getaddrinfo


def getaddrinfo(host: Any, *arguments: Any, **keywords: Any) -> list[Any]:
    """Every address of the name, in the order told."""
    names = ADDRESSES.get(host, [host])
    return [row for name in names for row in _system(name, *arguments, **keywords)]


if __name__ == "__main__":
    socket.getaddrinfo = getaddrinfo
    runpy.run_module("awslambdaric", run_name="__main__", alter_sys=True)
