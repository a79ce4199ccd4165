from collections.abc import Iterator

import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

from ops.clusters.failover import find_failover_region
from ops.local.sandbox import lifecycle
from ops.local.sandbox.fault_control import FaultClient

PRIMARY, SECONDARY = "us-east-1", "us-east-2"


@pytest.fixture(autouse=True)
def any_alias(
    django_db_modify_db_settings: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """Django's own tests allow no connection but the configured ones."""
    before = set(connections.databases)
    with django_db_blocker.unblock():
        yield
    assert set(connections.databases) == before


def test_each_region_is_served_by_the_other(sandbox: lifecycle.Status) -> None:
    own, peer = (region.endpoint for region in sandbox.regions)
    assert find_failover_region(own, peer) == SECONDARY
    assert find_failover_region(peer, own) == PRIMARY


def test_a_peer_that_cannot_be_reached_does_not_serve(
    sandbox: lifecycle.Status, faults: FaultClient
) -> None:
    own, peer = (region.endpoint for region in sandbox.regions)
    faults.add("refuse", region=SECONDARY)
    assert find_failover_region(own, peer) is None
