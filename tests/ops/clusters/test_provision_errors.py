"""What dsql_provision refuses, and how it ends when AWS does."""

import pytest
from django.core.management import CommandError

from ops import aws
from ops.local.sandbox.clusters import Timing
from tests.control import EAST, OHIO, OREGON, World
from tests.ops.clusters.commands import TAGS, assert_whole, destroy, failure, provision
from tests.ops.clusters.conftest import Hook


def refused_as(world: World, says: str) -> None:
    """The plan is refused with that explanation, and nothing is changed."""
    before = world.written
    assert says in failure(provision)
    assert world.written == before


def test_refuses_a_wrong_witness(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    provision()
    monkeypatch.setenv("WITNESS_REGION", "ca-central-1")
    refused_as(world, "has the witness Region us-west-2, not ca-central-1")


def test_refuses_a_peer_of_another_account(world: World) -> None:
    foreign = f"arn:aws:dsql:us-east-2:999999999999:cluster/{'a' * 26}"
    world.client().create_cluster(
        multiRegionProperties={"witnessRegion": OREGON, "clusters": [foreign]},
        tags=TAGS | {"Role": "primary"},
    )
    refused_as(world, "of another account")


def test_refuses_a_peer_without_our_tags_and_never_deletes_it(world: World) -> None:
    first, second = world.peered()
    world.client().tag_resource(
        resourceArn=first["arn"], tags=TAGS | {"Role": "primary"}
    )
    refused_as(world, "does not carry our tags")
    said = failure(destroy, "--timeout", "5")
    assert "still PENDING_DELETE after 5 s" in said
    assert "until its peer is deleted too" in said
    assert world.status(second) == "ACTIVE"


def test_refuses_duplicates_swapped_regions_and_members_elsewhere(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    provision()
    extra = world.client().create_cluster(
        multiRegionProperties={"witnessRegion": OREGON},
        tags=TAGS | {"Role": "primary"},
        deletionProtectionEnabled=False,
    )
    refused_as(world, "Several clusters carry the tags")
    world.client().delete_cluster(identifier=extra["identifier"])
    world.now += world.timing.delete
    world.control.refresh()
    monkeypatch.setenv("PRIMARY_REGION", OHIO)
    monkeypatch.setenv("SECONDARY_REGION", EAST)
    refused_as(world, "Swap PRIMARY_REGION and SECONDARY_REGION")
    monkeypatch.setenv("PRIMARY_REGION", EAST)
    monkeypatch.setenv("SECONDARY_REGION", "ca-central-1")
    refused_as(world, "us-east-2 is not a configured Region")


def test_a_failed_member_is_an_error_with_the_way_out(world: World) -> None:
    world.fault("api-failed", region=OHIO)
    said = failure(provision)
    assert "(FAILED): AWS gives no reason" in said
    assert "manage.py dsql_destroy" in said
    refused_as(world, "(FAILED): AWS gives no reason")
    destroy()
    provision()
    assert_whole(world)


def test_a_set_that_is_being_deleted_is_left_to_its_end(world: World) -> None:
    provision()
    first = world.clusters[0]
    first.protected = False
    world.client(first.region).delete_cluster(identifier=first.identifier)
    refused_as(world, "is being deleted")


@pytest.mark.parametrize(
    "action",
    ["ListClusters", "CreateCluster", "TagResource", "PutMultiRegionProperties",
     "PutWitnessRegion", "AddPeerCluster", "GetCluster", "UpdateCluster"],
)  # fmt: skip
def test_each_denied_action_is_named_and_what_was_done(
    world: World, action: str
) -> None:
    world.fault("api-denied", action)
    said = failure(provision)
    assert f"Allow dsql:{action} to this user or role" in said
    if action in {"AddPeerCluster", "UpdateCluster", "GetCluster"}:
        assert "Not done: " in said
        assert "To continue: manage.py dsql_provision" in said
    provision()
    assert_whole(world)


def test_throttled_calls_are_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.retries.standard.time.sleep", lambda _: None)
    world.fault("api-throttled", "CreateCluster")
    provision()
    assert_whole(world)


def test_a_used_up_quota_is_told(world: World) -> None:
    for _ in range(5):
        world.client(OHIO).create_cluster(
            multiRegionProperties={"witnessRegion": OREGON}
        )
    said = failure(provision)
    assert "us-east-2: CreateCluster: a quota is reached" in said
    assert "Done:     create  primary" in said


def test_wrong_and_missing_credentials_are_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.keys.clear()
    assert "does not accept the credentials" in failure(provision)
    aws._session.cache_clear()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(world.folder / "none"))
    assert "Set AWS_PROFILE, or AWS_ACCESS_KEY_ID" in failure(provision)


def test_a_wait_that_takes_too_long_says_how_to_resume(world: World) -> None:
    world.control.fleet.timing = Timing(create=10_000)
    said = failure(provision, "--timeout", "60")
    assert "is still CREATING after 60 s" in said
    assert "All steps are done, but a cluster is not ready." in said
    world.now += 10_000
    provision()
    assert_whole(world)


@pytest.mark.parametrize("state", ["PENDING_SETUP", "CREATING"])
def test_ctrl_c_says_what_was_done(world: World, hooks: list[Hook], state: str) -> None:
    def interrupt(moment: str, operation: str) -> None:
        world.control.refresh()
        statuses = [world.control.fleet.status(c, world.now) for c in world.clusters]
        if state in statuses and moment == "before":
            raise KeyboardInterrupt

    hooks.append(interrupt)
    with pytest.raises(CommandError) as caught:
        provision()
    assert caught.value.returncode == 130
    assert str(caught.value).startswith("Interrupted.\n")
    hooks.clear()
    provision()
    assert_whole(world)
