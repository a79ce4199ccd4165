"""Connections outside Django's test transaction: these tests commit, and clean up."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections

from config.dsql.base import DatabaseWrapper
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


def run(connection: DatabaseWrapper, sql: str) -> list[Any]:
    """The rows of one statement in autocommit; none where it has none."""
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []
