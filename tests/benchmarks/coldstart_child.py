"""One cold start in this fresh process: its CPU seconds as JSON.

Arguments: the unpacked package, the handler's dotted name, the path of a user.
Run with ``python -I -S``: nothing but the package and the standard library is imported.
"""

import importlib
import json
import sys
import time
from pathlib import Path

EVENT = {
    "resource": "/{proxy+}",
    "queryStringParameters": None,
    "multiValueQueryStringParameters": None,
    "body": None,
    "isBase64Encoded": False,
    "headers": {"Host": "abc.execute-api.us-east-1.amazonaws.com"},
    "multiValueHeaders": {"Host": ["abc.execute-api.us-east-1.amazonaws.com"]},
}


def event(path: str) -> dict[str, object]:
    context = {
        "path": f"/prod{path}",
        "stage": "prod",
        "requestId": "00000000-0000-4000-8000-000000000000",
        "identity": {"sourceIp": "192.0.2.1"},
    }
    return {
        **EVENT,
        "httpMethod": "GET",
        "path": path,
        "pathParameters": {"proxy": path[1:]},
        "requestContext": context,
    }


def main() -> None:
    task, handler, user = sys.argv[1:]
    sys.path.insert(0, task)
    started = time.process_time()
    module, function = handler.rsplit(".", 1)
    handle = getattr(importlib.import_module(module), function)
    spent = [time.process_time()]
    for path in ("/health", user):
        answer = handle(event(path), None)
        if answer["statusCode"] != 200:
            sys.exit(f"{path} answered {answer}")
        spent.append(time.process_time())
    names = ("init", "health", "get")
    phases = zip(names, [started, *spent], spent, strict=False)
    report = {name: after - before for name, before, after in phases}
    print(json.dumps({**report, "rss": peak_rss(), "modules": len(sys.modules)}))


def peak_rss() -> int:
    """Bytes; getrusage would answer for the process that started this one, too."""
    with Path("/proc/self/status").open() as status:
        line = next(row for row in status if row.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


main()
