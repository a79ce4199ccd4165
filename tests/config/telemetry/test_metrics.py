import logging
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from config.telemetry import metrics
from config.telemetry.middleware import TelemetryMiddleware


@pytest.fixture
def line(caplog: pytest.LogCaptureFixture, settings: Any) -> Any:
    """The log line of one request under a namespace, as it is written."""

    def serve(namespace: str) -> dict[str, Any]:
        settings.METRICS_NAMESPACE = namespace
        with caplog.at_level(logging.INFO, logger="config.telemetry"):
            request = RequestFactory().get("/users")
            TelemetryMiddleware(lambda _: HttpResponse())(request)
        fields: dict[str, Any] = caplog.records[-1].__dict__["fields"]
        return fields

    return serve


def test_metrics_are_embedded_under_the_namespace(
    line: Any,
) -> None:
    assert "_aws" not in line("")
    found = line("multi-region-app")
    (directive,) = found["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "multi-region-app"
    assert directive["Dimensions"] == [["Region"], ["Region", "Route"]]
    for metric in directive["Metrics"]:
        assert isinstance(found[metric["Name"]], int | float)


def test_each_named_metric_is_in_the_line_of_a_request(line: Any) -> None:
    found = line("multi-region-app")
    assert set(metrics.UNITS) < set(found)
    assert {metrics.REGION, metrics.ROUTE} < set(found)
    (directive,) = found["_aws"]["CloudWatchMetrics"]
    # No connection was opened, so there is no time to average.
    assert {m["Name"]: m["Unit"] for m in directive["Metrics"]} == {
        name: unit
        for name, unit in metrics.UNITS.items()
        if name != metrics.CONNECT_TIME
    }
