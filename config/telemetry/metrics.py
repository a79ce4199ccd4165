"""The metrics of a request, by the names that dashboards and alarms import."""

import time
from collections.abc import Mapping
from typing import Any

REQUESTS = "Requests"
LATENCY = "Latency"
COLD_STARTS = "ColdStarts"
CONNECT_TIME = "ConnectTime"
CONFLICTS_RETRIED = "ConflictsRetried"
FAILOVERS = "Failovers"
UNITS = {
    REQUESTS: "Count",
    LATENCY: "Milliseconds",
    COLD_STARTS: "Count",
    CONNECT_TIME: "Milliseconds",
    CONFLICTS_RETRIED: "Count",
    FAILOVERS: "Count",
}
REGION, ROUTE = "Region", "Route"
# Each metric is kept for the whole Region and for each of its routes.
DIMENSIONS = [[REGION], [REGION, ROUTE]]


def embedded_metrics(namespace: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The ``_aws`` member that makes CloudWatch take metrics out of a log line.

    CloudWatch user guide, "Specification: Embedded metric format". The time to connect
    counts only for requests that opened a connection.
    """
    metrics = [
        {"Name": name, "Unit": unit}
        for name, unit in UNITS.items()
        if name != CONNECT_TIME or fields[name]
    ]
    return {
        "Timestamp": int(time.time() * 1000),
        "CloudWatchMetrics": [
            {
                "Namespace": namespace,
                "Dimensions": DIMENSIONS,
                "Metrics": metrics,
            }
        ],
    }
