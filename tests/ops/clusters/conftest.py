"""An operator's process whose AWS is a control plane on loopback, with its own time."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.loaders import Loader

from ops import aws
from ops.clusters import apply, login
from ops.local.sandbox.clusters import Timing
from tests import control
from tests.control import World

Hook = Callable[[str, str], None]
# One look at a cluster in transition, half a second later it is through.
FAST = Timing(create=0.4, update=0.4, delete=0.4)
VARIABLES = (
    "AWS_PROFILE", "AWS_SESSION_TOKEN", "CLUSTER_NAME_PREFIX", "PRIMARY_REGION",
    "SECONDARY_REGION", "WITNESS_REGION",
)  # fmt: skip


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with control.serve(tmp_path, FAST) as made:
        operator = made.keys["AKIAOPERATOR"]
        monkeypatch.setenv("TARGET", "sandbox")
        monkeypatch.setenv("AWS_ENDPOINT_URL_DSQL", f"http://127.0.0.1:{made.port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", operator.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", operator.secret_key)
        for command in ("dsql_provision", "dsql_destroy"):
            path = f"ops.management.commands.{command}.ENV_FILE"
            monkeypatch.setattr(path, tmp_path / ".env")

        def sleep(seconds: float) -> None:
            made.now += seconds

        clock = SimpleNamespace(sleep=sleep, monotonic=lambda: made.now)
        monkeypatch.setattr(apply, "time", clock)
        monkeypatch.setattr(login, "time", clock)
        # A control plane has no endpoints to log in at.
        monkeypatch.setattr(login, "log_in", lambda *_: None)
        monkeypatch.setattr(aws, "_session", cache(_session))
        yield made


LOADER = Loader()  # reads the service models once for all tests


def _session() -> boto3.Session:
    core = botocore.session.Session()
    core.register_component("data_loader", LOADER)
    return boto3.Session(botocore_session=core)


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> list[Hook]:
    """Each is called with ``before`` or ``after`` and the operation, at every AWS call."""
    found: list[Hook] = []
    made = aws.client

    def client(service: str, region: str) -> Any:
        client = made(service, region)
        for moment, event in (("before", "before-call"), ("after", "after-call")):

            def call(model: Any, moment: str = moment, **_: Any) -> None:
                for hook in tuple(found):
                    hook(moment, model.name)

            client.meta.events.register(event, call, unique_id=f"test-{moment}")
        return client

    monkeypatch.setattr(aws, "client", client)
    return found
