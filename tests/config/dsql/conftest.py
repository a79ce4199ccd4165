"""Connections outside Django's test transaction: these tests commit, and clean up."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, connections

from config.dsql.base import DatabaseWrapper
from config.dsql.endpoints import endpoints
from ops.local.sandbox import lifecycle


@pytest.fixture
def other(
    sandbox: lifecycle.Status, django_db_blocker: Any
) -> Iterator[DatabaseWrapper]:
    """The alias ``other``: the primary's endpoint, schema public."""
    connections.databases["other"] = {
        **copy.deepcopy(connections.databases["default"]),
        "HOST": sandbox.regions[0].endpoint,
        "NAME": "postgres",
    }
    with django_db_blocker.unblock():
        wrapper = connections["other"]
        assert isinstance(wrapper, DatabaseWrapper)
        yield wrapper
        wrapper.close()
    del connections["other"]
    del connections.databases["other"]


@pytest.fixture
def scratch(other: DatabaseWrapper) -> Iterator[DatabaseWrapper]:
    """The alias ``other`` in an empty schema of its own."""
    run(other, "CREATE SCHEMA scratch")
    other.close()
    other.settings_dict["NAME"] = "postgres.scratch"
    yield other
    run(other, "DROP SCHEMA scratch CASCADE")


@pytest.fixture
def peer(
    sandbox: lifecycle.Status, other: DatabaseWrapper
) -> Iterator[DatabaseWrapper]:
    """The other Region's view of what ``other`` sees."""
    peer = other.copy("peer")
    peer.settings_dict["HOST"] = sandbox.regions[1].endpoint
    yield peer
    peer.close()


@pytest.fixture
def own_connection(
    transactional_db: None, sandbox: lifecycle.Status, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A connection that knows the peer; the process forgets what the test taught it."""
    endpoints.cache_clear()
    peer = sandbox.regions[1].endpoint
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "peer_host", peer)
    connection.close()
    connection.ensure_connection()
    yield
    connection.close()


def run(connection: DatabaseWrapper, sql: str) -> list[Any]:
    """The rows of one statement in autocommit; none where it has none."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []
