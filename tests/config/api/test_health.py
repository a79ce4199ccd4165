"""What /health says: well, without a database, and with code ahead of the schema."""

from typing import Any

import pytest
from django.db import OperationalError
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from config.api import health

pytestmark = pytest.mark.django_db
WELL = {"status": "ok", "region": "us-east-1", "database": "ok", "schema": "current"}


def test_a_region_that_can_serve_says_so(client: Client) -> None:
    answer = client.get("/health")
    assert (answer.status_code, answer.json()) == (200, WELL)


def test_code_that_needs_a_migration_does_not_serve(client: Client) -> None:
    """As after a deployment that forgot dsql_database."""
    MigrationRecorder.Migration.objects.filter(app="users").latest("id").delete()
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json() == {**WELL, "status": "unavailable", "schema": "behind"}
    assert answer["Retry-After"] == "1"


def test_a_schema_that_is_ahead_serves(client: Client) -> None:
    """As while the other Region already has newer code."""
    MigrationRecorder.Migration.objects.create(app="users", name="0999_later")
    assert client.get("/health").json() == WELL


def test_a_database_that_cannot_be_reached_is_the_reason(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any, **__: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(health, "run_statement", lost)
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["database"] == "unreachable"
    assert answer.json()["schema"] == "unknown"
