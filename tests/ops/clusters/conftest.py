from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ops import aws
from tests.control import World
from tests.ops.clusters import shell

Hook = Callable[[str, str], None]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with shell.opened(monkeypatch, tmp_path) as made:
        yield made


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
