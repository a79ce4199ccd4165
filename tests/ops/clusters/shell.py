"""An operator's process whose AWS is a control plane on loopback, with its own time."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import boto3
import botocore.session
import pytest
from botocore.loaders import Loader

from ops import aws
from ops.clusters import apply, login
from ops.local.sandbox.clusters import Timing
from tests import control
from tests.control import World

# One look at a cluster in transition, half a second later it is through.
FAST = Timing(create=0.4, update=0.4, delete=0.4)
VARIABLES = (
    "AWS_PROFILE", "AWS_SESSION_TOKEN", "CLUSTER_NAME_PREFIX", "PRIMARY_REGION",
    "SECONDARY_REGION", "WITNESS_REGION",
)  # fmt: skip
LOADER = Loader()  # reads the service models once for all tests


@contextmanager
def opened(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[World]:
    """A control plane of its own, and an operator's shell that leads to it."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with control.serve(folder, FAST) as made:
        operator = made.keys["AKIAOPERATOR"]
        monkeypatch.setenv("TARGET", "sandbox")
        monkeypatch.setenv("AWS_ENDPOINT_URL_DSQL", f"http://127.0.0.1:{made.port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", operator.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", operator.secret_key)
        for command in ("dsql_provision", "dsql_destroy"):
            path = f"ops.management.commands.{command}.ENV_FILE"
            monkeypatch.setattr(path, folder / ".env")

        def sleep(seconds: float) -> None:
            made.now += seconds

        clock = SimpleNamespace(sleep=sleep, monotonic=lambda: made.now)
        monkeypatch.setattr(apply, "time", clock)
        monkeypatch.setattr(login, "time", clock)
        # A control plane has no endpoints to log in at.
        monkeypatch.setattr(login, "log_in", lambda *_: None)
        monkeypatch.setattr(aws, "_session", cache(_session))
        yield made


def _session() -> boto3.Session:
    core = botocore.session.Session()
    core.register_component("data_loader", LOADER)
    return boto3.Session(botocore_session=core)
