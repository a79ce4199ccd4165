"""The cluster commands, and what they must have made."""

import io
from collections.abc import Callable

import pytest
from django.core.management import CommandError, call_command

from tests.control import EAST, OHIO, OREGON, World

TAGS = {"Application": "multi-region-app", "ManagedBy": "multi-region-app"}


def run(command: str, *arguments: str) -> str:
    """Standard output of the command."""
    out = io.StringIO()
    call_command(command, *arguments, stdout=out, stderr=out)
    return out.getvalue()


def provision(*arguments: str) -> str:
    return run("dsql_provision", *arguments)


def destroy(*arguments: str) -> str:
    return run("dsql_destroy", "--yes", "--prefix", "multi-region-app", *arguments)


def failure(command: Callable[..., str], *arguments: str) -> str:
    with pytest.raises(CommandError) as caught:
        command(*arguments)
    return str(caught.value)


def assert_whole(world: World) -> None:
    """Two clusters, peered both ways, protected, tagged, serving."""
    first, second = world.clusters
    assert {first.region, second.region} == {EAST, OHIO}
    for cluster, peer in ((first, second), (second, first)):
        assert cluster.peers == [peer.arn]
        assert cluster.witness == OREGON
        assert cluster.protected
        role = "primary" if cluster.region == EAST else "secondary"
        assert cluster.tags == TAGS | {"Role": role}
        assert world.control.refusal(cluster.endpoint) == ""
