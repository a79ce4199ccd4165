"""SnapStart: no copy of a snapshot shares a connection or random numbers with another."""

import random
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from config.dsql.credentials import CONTAINER, Credentials
from config.dsql.tokens import TOKENS, Endpoint
from config.on_lambda import snapshot

pytestmark = pytest.mark.django_db(transaction=True)
Hooks = list[Callable[[], None]]


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Hooks:
    """Lambda's own package, with what was registered."""
    found: Hooks = []
    package = ModuleType("snapshot_restore_py")
    vars(package)["register_after_restore"] = found.append
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setenv(snapshot.INITIALIZATION, snapshot.SNAPSTART)
    connection.close()
    return found


def opened() -> Any:
    return connection.connection


def test_without_snapstart_the_start_connects(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(snapshot.INITIALIZATION, "on-demand")
    snapshot.start()
    assert opened() is not None
    assert hooks == []


def test_nothing_connects_before_the_snapshot_and_each_copy_does_after_it(
    hooks: Hooks, client: Client
) -> None:
    snapshot.start()
    assert opened() is None
    (after_restore,) = hooks
    after_restore()
    first = opened()
    assert first is not None
    assert client.get("/users").status_code == 200
    assert opened() is first


def test_a_copy_drops_the_connection_tokens_and_random_state_of_the_snapshot(
    hooks: Hooks,
) -> None:
    snapshot.start()
    connection.ensure_connection()
    before = opened()
    endpoint = Endpoint("a.dsql.us-east-1.on.aws", "us-east-1", "app")
    TOKENS.issue(endpoint)
    CONTAINER._kept = None, Credentials("a", "b")  # type: ignore[assignment] # any will do
    draws = []
    for _ in range(2):
        random.seed(7)  # the state in the snapshot
        hooks[0]()
        draws.append(random.getrandbits(64))
    assert draws[0] != draws[1]
    assert before.closed
    assert opened() is not before
    assert endpoint not in TOKENS._kept
    assert CONTAINER._kept is None


def test_without_lambdas_hooks_the_first_request_connects(
    hooks: Hooks, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", None)
    snapshot.start()
    assert opened() is None
    assert client.get("/users").status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="Lambda's package is Linux's")
def test_lambdas_package_has_the_hook_by_that_name() -> None:
    import snapshot_restore_py

    assert callable(snapshot_restore_py.register_after_restore)
