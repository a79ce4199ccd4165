"""Clusters made, completed, refused and removed, through the commands."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command

from ops import aws
from ops.clusters import inventory
from ops.local.sandbox.signatures import Key
from ops.topology import Topology
from tests.control import ALL, EAST, OHIO, OREGON, World
from tests.ops.clusters.commands import (
    TAGS,
    assert_whole,
    destroy,
    failure,
    provision,
    run,
)
from tests.ops.clusters.conftest import Hook

MUTATING = {
    "CreateCluster", "UpdateCluster", "DeleteCluster", "TagResource", "UntagResource",
}  # fmt: skip


def test_the_second_run_changes_nothing_and_says_so(
    world: World, hooks: list[Hook]
) -> None:
    said = provision()
    assert_whole(world)
    assert "PENDING_SETUP" in said
    assert "Ready. Next: manage.py dsql_database" in said
    hooks.append(refuse_changes)
    assert "Nothing to change: the clusters are as configured." in provision()
    answer = json.loads(
        run("dsql_provision", "--format", "json").partition("\n{")[2].join("{ ")
    )
    assert answer["changed"] is False


def refuse_changes(moment: str, operation: str) -> None:
    assert operation not in MUTATING, f"{operation} changes something"


def test_a_dry_run_makes_no_mutating_call(world: World, hooks: list[Hook]) -> None:
    hooks.append(refuse_changes)
    said = provision("--dry-run")
    assert said.count("would create") == 2
    assert "would update  primary" in said
    assert "Dry run: nothing was changed." in said
    assert world.clusters == []
    with pytest.raises(AssertionError, match="CreateCluster changes something"):
        provision()


class Killed(BaseException):
    """The process is gone at this point."""


def kill_at(number: int) -> Hook:
    """A hook that ends the process before or after a call; each moment counts."""
    count = 0

    def hook(moment: str, operation: str) -> None:
        nonlocal count
        count += 1
        if count == number:
            raise Killed

    return hook


def moments(hooks: list[Hook], work: Callable[[], Any]) -> int:
    """How many moments the work has."""
    seen: list[str] = []
    hooks[:] = [lambda *call: seen.append(call[1])]
    work()
    hooks.clear()
    return len(seen)


def test_killed_at_every_step_the_next_run_completes(
    world: World, hooks: list[Hook]
) -> None:
    total = moments(hooks, provision)
    assert total > 12
    for number in range(1, total + 1):
        world.reset()
        hooks[:] = [kill_at(number)]
        with pytest.raises(Killed):
            provision()
        hooks.clear()
        assert len(world.clusters) <= 2
        provision()
        assert_whole(world)


def test_two_operators_at_once_make_one_pair(world: World, hooks: list[Hook]) -> None:
    """The second runs from begin to end at every moment of the first in turn."""
    total = moments(hooks, provision)
    for number in range(1, total + 1):
        world.reset()
        count = 0

        def meanwhile(moment: str, operation: str, number: int = number) -> None:
            nonlocal count
            count += 1
            if count == number:
                hooks.clear()
                provision()

        hooks[:] = [meanwhile]
        provision()
        hooks.clear()
        assert_whole(world)


def test_destroyed_and_made_again_within_the_life_of_a_client_token(
    world: World,
) -> None:
    seen: set[str] = set()
    for _ in range(3):
        provision()
        assert_whole(world)
        names = {cluster.identifier for cluster in world.clusters}
        assert not names & seen
        seen |= names
        world.now += 60
        assert "Nothing is left." in destroy()
        assert world.clusters == []


def test_destroy_killed_at_every_step_is_completed_by_the_next(
    world: World, hooks: list[Hook]
) -> None:
    provision()
    total = moments(hooks, destroy)
    for number in range(1, total + 1):
        world.reset()
        provision()
        hooks[:] = [kill_at(number)]
        with pytest.raises(Killed):
            destroy()
        hooks.clear()
        destroy()
        assert world.clusters == []


def test_a_half_peered_pair_is_completed(world: World) -> None:
    shared = {"witnessRegion": OREGON}
    for region, role in ((OHIO, "secondary"), (EAST, "primary")):
        world.client(region).create_cluster(
            multiRegionProperties=shared, tags=TAGS | {"Role": role}
        )
    assert "update  primary    us-east-1       peer with secondary" in provision()
    assert_whole(world)


@pytest.mark.parametrize("lost", [EAST, OHIO])
def test_a_member_deleted_behind_our_back_is_replaced(world: World, lost: str) -> None:
    provision()
    # Only a half-peered member can go alone: its peer must have let go of it.
    (gone,) = [cluster for cluster in world.clusters if cluster.region == lost]
    (kept,) = [cluster for cluster in world.clusters if cluster.region != lost]
    del world.control.fleet.clusters[gone.identifier]
    world.control.fleet.link(world.now)
    assert world.control.fleet.status(kept, world.now) == "PENDING_SETUP"
    provision()
    assert_whole(world)
    assert kept.identifier in {cluster.identifier for cluster in world.clusters}


def test_missing_protection_tags_key_and_statistics_are_repaired(world: World) -> None:
    provision()
    for cluster in world.clusters:
        cluster.protected = False
        del cluster.tags["Role"]
    said = provision("--kms-key", "alias/mine", "--statement-statistics")
    assert said.count("deletion protection on, encrypt with alias/mine") == 2
    assert_whole(world)
    for cluster in world.clusters:
        assert (
            cluster.kms_key == f"arn:aws:kms:{cluster.region}:123456789012:alias/mine"
        )
        assert cluster.metric_groups == ["STATEMENT_STATISTICS"]
    assert "Nothing to change" in provision("--kms-key", "alias/mine")
    provision("--no-statement-statistics", "--kms-key", "primary=AWS_OWNED_KMS_KEY")
    for cluster in world.clusters:
        assert cluster.metric_groups == []
        assert (cluster.kms_key is None) == (cluster.region == EAST)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("tertiary=alias/x", "'tertiary' is not one of"),
        ("arn:aws:kms:eu-west-1:123456789012:key/x", "in the Region of its cluster"),
        (
            "primary=arn:aws:kms:us-east-2:123456789012:key/x",
            "in the Region of its cluster",
        ),
    ],
)
def test_a_key_must_fit_its_cluster(world: World, key: str, says: str) -> None:
    assert says in failure(provision, "--kms-key", key)
    assert world.clusters == []


def test_other_regions_and_a_single_region(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRIMARY_REGION", "eu-central-1")
    monkeypatch.setenv("SECONDARY_REGION", "eu-west-1")
    monkeypatch.setenv("WITNESS_REGION", "eu-west-3")
    provision()
    assert {c.region for c in world.clusters} == {"eu-central-1", "eu-west-1"}
    assert {c.witness for c in world.clusters} == {"eu-west-3"}
    destroy()
    provision("--single-region")
    (cluster,) = world.clusters
    assert (cluster.region, cluster.witness) == ("eu-central-1", None)
    assert "Nothing to change" in provision("--single-region")
    assert "cannot turn one kind into the other" in failure(provision)


def test_destroy_needs_the_typed_prefix(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    provision()
    assert "--yes needs --prefix multi-region-app" in failure(
        lambda: run("dsql_destroy", "--yes")
    )
    assert "nothing was deleted" in failure(
        lambda: run("dsql_destroy", "--yes", "--prefix", "other")
    )
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    assert "Nothing was deleted." in failure(lambda: run("dsql_destroy"))
    assert "Dry run" in destroy("--dry-run")
    assert_whole(world)
    monkeypatch.setattr("builtins.input", lambda _: "multi-region-app")
    assert "Nothing is left." in run("dsql_destroy")
    assert world.clusters == []


def test_destroy_leaves_clusters_without_our_tags(world: World) -> None:
    mine = {**TAGS, "Application": "another-app", "Role": "primary"}
    others = [
        world.client().create_cluster(tags=tags, deletionProtectionEnabled=False)
        for tags in ({}, {"Application": "multi-region-app"}, mine)
    ]
    provision()
    destroy()
    left = {cluster.identifier for cluster in world.clusters}
    assert left == {other["identifier"] for other in others}


def test_status_shows_what_is_and_what_differs(world: World) -> None:
    assert "No cluster of 'multi-region-app' exists" in run("dsql_status")
    provision()
    first, second = (world.clusters, world.clusters[::-1])[
        world.clusters[0].region != EAST
    ]
    said = run("dsql_status", "--api-url", "primary=https://api.example.com/prod/")
    for text in (
        first.endpoint,
        second.identifier,
        "As configured.",
        "ACTIVE",
        "protected",
    ):
        assert text in said
    assert "primary    API https://api.example.com/prod\n" in said
    assert run("dsql_status", "--format", "env", "--role", "secondary") == (
        f"DSQL_ENDPOINT={second.endpoint}\nDSQL_PEER_ENDPOINT={first.endpoint}\n"
        f"AWS_REGION=us-east-2\n"
    )
    first.protected = False
    assert "differs: update  primary    us-east-1       deletion protection on" in run(
        "dsql_status"
    )
    found = json.loads(run("dsql_status", "--format", "json"))
    assert found["members"]["secondary"]["peers"] == [first.arn]
    assert found["drift"][0]["protect"] is True
    assert "not ROLE=URL" in failure(lambda: run("dsql_status", "--api-url", "x"))
    curl = run("dsql_status", "--format", "curl", "--api-url", "secondary=http://h/p")
    assert curl == "curl -i http://h/p/health\ncurl -i http://h/p/users\n"


def test_least_actions_suffice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the printed policy allows is enough for provisioning and destroying."""
    out = io.StringIO()
    call_command("iam_policy", "provision", "--account", "123456789012", stdout=out)
    policy = json.loads(out.getvalue())
    actions = {
        action.removeprefix("dsql:")
        for statement in policy["Statement"]
        for action in statement["Action"]
        if action.startswith("dsql:")
    }
    assert actions <= set(ALL) | {"DbConnectAdmin"}
    world.keys["AKIALESS"] = Key(
        "AKIALESS", "s", "arn:aws:iam::1:user/less", tuple(actions)
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIALESS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    aws._session.cache_clear()
    provision("--statement-statistics")
    assert_whole(world)
    destroy()


def test_the_inventory_reads_every_page(world: World) -> None:
    for _ in range(15):
        world.client().create_cluster()
    provision()
    found = inventory.take(Topology.from_environment({}))
    assert set(found.members()) == {"primary", "secondary"}
    assert len(found.owned) == 2
