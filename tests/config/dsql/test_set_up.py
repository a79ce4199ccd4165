"""Connections that break between their login and their first use."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.db import (
    NotSupportedError,
    close_old_connections,
    connection,
    connections,
)
from django.db.backends.signals import connection_created
from django.test import Client
from psycopg import errors

from config.dsql.base import DatabaseWrapper
from config.dsql.conflicts import ConnectionLost
from config.dsql.signals import connected
from ops.local.sandbox.fault_control import FaultClient
from tests.config.dsql.conftest import run
from tests.database import default_connection

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def between_requests() -> Iterator[None]:
    """What the test client leaves out and a server does."""
    request_started.connect(close_old_connections)
    request_finished.connect(close_old_connections)
    yield
    request_started.disconnect(close_old_connections)
    request_finished.disconnect(close_old_connections)


def fail(**_: Any) -> None:
    raise RuntimeError("a receiver's bug")


def test_a_listener_of_new_connections_that_fails_leaves_no_half_open_one(
    faults: FaultClient,
) -> None:
    connection.close()
    open_ones = faults.connections()
    connection_created.connect(fail)
    try:
        with pytest.raises(RuntimeError):
            connection.ensure_connection()
    finally:
        connection_created.disconnect(fail)
    assert connection.connection is None
    assert faults.connections() == open_ones
    close_old_connections()
    assert run(default_connection(), "SELECT 1") == [(1,)]


def test_requests_after_a_failed_set_up_are_served(
    client: Client, between_requests: None
) -> None:
    client.raise_request_exception = False
    connection.close()
    connection_created.connect(fail)
    try:
        for _ in range(2):
            answer = client.get("/users")
            assert (answer.status_code, answer.json()["code"]) == (
                500,
                "internal_error",
            )
    finally:
        connection_created.disconnect(fail)
    assert client.get("/users").status_code == 200


def test_who_only_measures_breaks_no_connection(other: DatabaseWrapper) -> None:
    connected.connect(fail)
    try:
        assert run(other, "SELECT 1") == [(1,)]
    finally:
        connected.disconnect(fail)


def test_a_server_of_a_version_that_is_refused_leaves_no_half_open_connection(
    other: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("django.db.backends.base.base.RAN_DB_VERSION_CHECK", set())
        patched.setattr(type(other.features), "minimum_database_version", (99,))
        with pytest.raises(NotSupportedError, match="DSQL 99 or later is required"):
            run(other, "SELECT 1")
        assert other.connection is None
    other.close_if_unusable_or_obsolete()
    assert run(other, "SELECT 1") == [(1,)]


def test_a_connection_that_is_cut_while_it_is_set_up_is_opened_again(
    client: Client, faults: FaultClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = connections["default"]  # in another zone: the set-up sends a statement
    monkeypatch.setattr(default, "timezone_name", "Europe/Berlin")
    connection.close()
    faults.add("cut-before-statement", statement=1, times=1)
    assert client.get("/users").status_code == 200
    assert faults.list()[0]["struck"] == 1
    connection.close()
    faults.add("cut-after-login", times=1)
    assert client.get("/users").status_code == 200
    faults.add("cut-before-statement", statement=1)
    connection.close()
    with pytest.raises(ConnectionLost, match="set up"):
        connection.ensure_connection()
    assert connection.connection is None
    answer = client.get("/users")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    faults.clear()
    assert client.get("/users").status_code == 200
    connection.close()


@pytest.mark.parametrize("binding", [True, False])
def test_the_zone_of_the_database_is_set_however_values_are_bound(
    scratch: DatabaseWrapper, settings: Any, binding: bool
) -> None:
    scratch.close()
    scratch.settings_dict["OPTIONS"]["server_side_binding"] = binding
    scratch.settings_dict["TIME_ZONE"] = "Europe/Berlin"
    for name in ("timezone", "timezone_name"):
        scratch.__dict__.pop(name, None)
    assert run(scratch, "SHOW TimeZone") == [("Europe/Berlin",)]
    moment = datetime(2026, 7, 1, 12, tzinfo=UTC)
    with scratch.cursor() as cursor:
        cursor.execute("CREATE TABLE moments (at timestamptz, note text)")
        cursor.execute("COMMENT ON COLUMN moments.note IS %s", ["100 %, it's"])
        cursor.execute("CREATE INDEX notes ON moments (at)")
        cursor.execute("INSERT INTO moments (at) VALUES (%s)", [moment])
        cursor.execute("SELECT at FROM moments")
        assert cursor.fetchone() == (moment,)


def test_a_connection_whose_zone_cannot_be_set_is_closed(
    scratch: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch.ensure_connection()
    monkeypatch.setattr(scratch.ops, "set_time_zone_sql", lambda: "SET %s")
    scratch.settings_dict["TIME_ZONE"] = "Europe/Berlin"
    for name in ("timezone", "timezone_name"):
        scratch.__dict__.pop(name, None)
    with pytest.raises(errors.SyntaxError):
        scratch.ensure_timezone()
    assert scratch.connection is None
    monkeypatch.undo()
    assert run(scratch, "SHOW TimeZone") == [("Europe/Berlin",)]
