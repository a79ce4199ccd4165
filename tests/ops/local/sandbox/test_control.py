"""The control plane, called by boto3's own client; time is the test's."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
import pytest

from config.dsql.credentials import Credentials
from config.dsql.tokens import Endpoint, sign
from ops.local.sandbox import lifecycle
from ops.local.sandbox.clusters import Timing
from tests.control import EAST, OHIO, OREGON, TIMING, World

if TYPE_CHECKING:
    from mypy_boto3_dsql.type_defs import CreateClusterOutputTypeDef

from tests.ops.local.sandbox.control_errors import refused


def test_a_single_region_cluster_lives(world: World) -> None:
    client = world.client()
    made = client.create_cluster(
        tags={"Name": "a"},
        kmsEncryptionKey="alias/mine",
        metricGroups=[{"metricGroup": "STATEMENT_STATISTICS"}],
    )
    name = made["identifier"]
    assert made["status"] == "CREATING"
    assert made["endpoint"] == f"{name}.dsql.us-east-1.on.aws"
    assert made["arn"] == f"arn:aws:dsql:us-east-1:123456789012:cluster/{name}"
    assert "multiRegionProperties" not in made
    world.now += TIMING.create
    found = client.get_cluster(identifier=name)
    assert found["status"] == "ACTIVE"
    assert found["tags"] == {"Name": "a"}
    assert found["deletionProtectionEnabled"] is True
    assert found["encryptionDetails"] == {
        "encryptionType": "CUSTOMER_MANAGED_KMS_KEY",
        "kmsKeyArn": "arn:aws:kms:us-east-1:123456789012:alias/mine",
        "encryptionStatus": "ENABLED",
    }
    assert found["metricGroups"] == [{"metricGroup": "STATEMENT_STATISTICS"}]
    assert found["creationTime"].timestamp() == 1_000_000
    client.update_cluster(
        identifier=name, kmsEncryptionKey="AWS_OWNED_KMS_KEY", metricGroups=[],
        deletionProtectionEnabled=False,
    )  # fmt: skip
    assert world.status(made) == "UPDATING"
    assert refused(client.delete_cluster, identifier=name)["Error"]["Code"] == (
        "ConflictException"
    )
    world.now += TIMING.update
    found = client.get_cluster(identifier=name)
    assert found["encryptionDetails"]["encryptionType"] == "AWS_OWNED_KMS_KEY"
    assert found["metricGroups"] == []
    assert client.delete_cluster(identifier=name)["status"] == "DELETING"
    world.now += TIMING.delete
    client.get_waiter("cluster_not_exists").wait(identifier=name)


def test_without_connections_a_cluster_goes_idle_and_one_wakes_it(world: World) -> None:
    made = world.client().create_cluster()
    world.now += TIMING.create + TIMING.idle
    assert world.status(made) == "IDLE"
    assert world.control.refusal(made["endpoint"]) == ""
    world.now += TIMING.inactive
    assert world.status(made) == "INACTIVE"
    world.control.connected(made["endpoint"])
    assert world.status(made) == "ACTIVE"


def test_two_clusters_wait_for_each_other(world: World) -> None:
    shared = {"witnessRegion": OREGON}
    first = world.client().create_cluster(multiRegionProperties=shared)
    assert first["status"] == "PENDING_SETUP"
    assert first["multiRegionProperties"] == shared | {"clusters": [first["arn"]]}
    world.now += 10_000
    assert world.status(first) == "PENDING_SETUP"
    assert "is PENDING_SETUP" in world.control.refusal(first["endpoint"])
    second = world.client(OHIO).create_cluster(
        multiRegionProperties=shared | {"clusters": [first["arn"]]}
    )
    assert world.status(second) == world.status(first) == "PENDING_SETUP"
    world.client().update_cluster(
        identifier=first["identifier"],
        multiRegionProperties=shared | {"clusters": [second["arn"]]},
    )
    assert world.status(second) == world.status(first) == "CREATING"
    world.now += TIMING.create
    for made in (first, second):
        assert world.status(made) == "ACTIVE"
        assert world.control.refusal(made["endpoint"]) == ""


def test_members_are_deleted_together_and_their_data_with_them(world: World) -> None:
    first, second = world.peered()
    east, ohio = world.client(), world.client(OHIO)
    assert (
        east.delete_cluster(identifier=first["identifier"])["status"]
        == "PENDING_DELETE"
    )
    world.now += 10_000
    assert world.status(first) == "PENDING_DELETE"
    assert "is PENDING_DELETE" in world.control.refusal(first["endpoint"])
    ohio.delete_cluster(identifier=second["identifier"])
    assert world.status(first) == world.status(second) == "DELETING"
    world.now += TIMING.delete
    world.clear_fails = True
    world.control.refresh()
    assert world.status(first) == "DELETING"  # not gone before its data are
    world.clear_fails = False
    world.control.refresh()
    assert world.cleared == 1
    for client, made in ((east, first), (ohio, second)):
        error = refused(client.get_cluster, identifier=made["identifier"])
        assert error["Error"]["Code"] == "ResourceNotFoundException"
        assert error["resourceId"] == made["identifier"]
    third, _ = world.peered()
    world.control.refresh()
    assert world.control.refusal(third["endpoint"]) == ""


def test_one_set_holds_the_data(world: World) -> None:
    world.peered()
    other = world.client().create_cluster()
    world.now += TIMING.create
    assert world.status(other) == "ACTIVE"
    assert "one cluster set" in world.control.refusal(other["endpoint"])


def test_the_state_survives_a_restart(world: World) -> None:
    first, second = world.peered()
    world.restart()
    assert world.status(first) == world.status(second) == "ACTIVE"
    assert world.control.refusal(second["endpoint"]) == ""


def test_deletion_protection_is_a_validation_error(world: World) -> None:
    made = world.client().create_cluster()
    world.now += TIMING.create
    error = refused(world.client().delete_cluster, identifier=made["identifier"])
    assert error["Error"]["Code"] == "ValidationException"
    assert error["reason"] == "deletionProtectionEnabled"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_client_token_makes_one_cluster(world: World) -> None:
    client = world.client()
    first = client.create_cluster(clientToken="t", deletionProtectionEnabled=False)
    world.restart()
    again = client.create_cluster(clientToken="t", deletionProtectionEnabled=False)
    assert again["identifier"] == first["identifier"]
    error = refused(client.create_cluster, clientToken="t")
    assert error["Error"]["Code"] == "ConflictException"
    elsewhere = world.client(OHIO).create_cluster(clientToken="t")
    assert elsewhere["identifier"] != first["identifier"]
    world.now += TIMING.create
    client.delete_cluster(identifier=first["identifier"])
    world.now += TIMING.delete
    # The first answer again, though its cluster is gone: that is what idempotence means.
    again = client.create_cluster(clientToken="t", deletionProtectionEnabled=False)
    assert again["identifier"] == first["identifier"]
    world.now += 25 * 3600
    last = client.create_cluster(clientToken="t", deletionProtectionEnabled=False)
    assert last["identifier"] != first["identifier"]


def test_lists_page_by_page_and_only_its_region(world: World) -> None:
    client = world.client()
    made = {client.create_cluster()["identifier"] for _ in range(5)}
    world.client(OHIO).create_cluster()
    pages = list(
        client.get_paginator("list_clusters").paginate(PaginationConfig={"PageSize": 2})
    )
    assert [len(page["clusters"]) for page in pages] == [2, 2, 1]
    assert {c["identifier"] for page in pages for c in page["clusters"]} == made
    error = refused(client.list_clusters, nextToken="x")
    assert error["Error"]["Code"] == "ValidationException"
    error = refused(client.list_clusters, maxResults=101)
    assert error["reason"] == "fieldValidationFailed"
    assert error["fieldList"][0]["name"] == "maxResults"


@pytest.mark.parametrize(("multi", "limit"), [(False, 20), (True, 5)])
def test_quotas(world: World, multi: bool, limit: int) -> None:
    params = {"multiRegionProperties": {"witnessRegion": OREGON}} if multi else {}
    client = world.client()
    for _ in range(limit):
        client.create_cluster(**params)
    error = refused(client.create_cluster, **params)
    assert error["Error"]["Code"] == "ServiceQuotaExceededException"
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 402
    assert error["serviceCode"] == "dsql"
    world.client(OHIO).create_cluster(**params)


def test_tags(world: World) -> None:
    client = world.client()
    arn = client.create_cluster(tags={"a": "1"})["arn"]
    client.tag_resource(resourceArn=arn, tags={"b": "2", "c": "3"})
    client.untag_resource(resourceArn=arn, tagKeys=["a", "c"])
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == {"b": "2"}
    for tags in ({"aws:x": "1"}, {"k": "ü"}, {f"k{i}": "" for i in range(201)}):
        error = refused(client.tag_resource, resourceArn=arn, tags=tags)
        assert error["ResponseMetadata"]["HTTPStatusCode"] in {400, 402}
    error = refused(world.client(OHIO).list_tags_for_resource, resourceArn=arn)
    assert error["Error"]["Code"] == "ResourceNotFoundException"


def test_the_endpoint_service_name(world: World) -> None:
    name = world.client().create_cluster()["identifier"]
    found = world.client().get_vpc_endpoint_service_name(identifier=name)
    assert found["serviceName"].startswith("com.amazonaws.us-east-1.dsql-")


def test_refuses_sets_that_cannot_be(world: World) -> None:
    client = world.client()
    first = client.create_cluster(multiRegionProperties={"witnessRegion": OREGON})
    single = client.create_cluster()
    ghost = "arn:aws:dsql:us-east-2:123456789012:cluster/" + "a" * 26
    world.now += TIMING.create
    arn = first["arn"]
    for properties, says in (
        ({"witnessRegion": EAST}, "must differ"),
        ({"clusters": [ghost]}, "needs a witnessRegion"),
        ({"witnessRegion": OREGON, "clusters": [ghost]}, "does not exist"),
        ({"witnessRegion": OREGON, "clusters": [arn]}, "in another Region"),
        ({"witnessRegion": OREGON, "clusters": ["x"]}, "must match"),
    ):
        error = refused(client.create_cluster, multiRegionProperties=properties)
        assert says in error["Error"]["Message"]
    error = refused(
        world.client(OHIO).create_cluster,
        multiRegionProperties={"witnessRegion": "us-west-2x", "clusters": [arn]},
    )
    assert "has the witness Region us-west-2" in error["Error"]["Message"]
    error = refused(
        client.update_cluster,
        identifier=single["identifier"],
        multiRegionProperties={"witnessRegion": OREGON},
    )
    assert "cannot become a multi-Region cluster" in error["Error"]["Message"]
    one, two = world.peered()
    error = refused(
        client.update_cluster,
        identifier=one["identifier"],
        multiRegionProperties={"witnessRegion": "eu-west-1", "clusters": [two["arn"]]},
    )
    assert "cannot be changed" in error["Error"]["Message"]


def test_the_data_plane_follows_the_control_plane(tmp_path: Path) -> None:
    """Made, used, deleted and made again in one daemon: connections come and go with it."""
    status = lifecycle.up(
        tmp_path, topology=None, timing=Timing(create=0.1, update=0.1, delete=0.1)
    )
    try:
        assert status.regions == ()
        keys = status.credentials
        key, secret = keys.values()
        session = boto3.Session(
            keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]
        )
        url = status.environ()["AWS_ENDPOINT_URL_DSQL"]
        client = session.client("dsql", region_name="eu-west-1", endpoint_url=url)
        waiters = (
            client.get_waiter("cluster_active"),
            client.get_waiter("cluster_not_exists"),
        )
        for waiter in waiters:
            config: Any = waiter.config
            config.delay = 0.05

        def connect(found: "CreateClusterOutputTypeDef") -> psycopg.Connection[Any]:
            endpoint = Endpoint(found["endpoint"], "eu-west-1", "admin")
            return psycopg.connect(
                host=endpoint.host, hostaddr=lifecycle.HOST, port=status.port,
                user="admin", dbname="postgres", sslmode="verify-full",
                sslrootcert=str(status.sslrootcert), autocommit=True,
                password=sign(endpoint, Credentials(key, secret)),
            )  # fmt: skip

        first = client.create_cluster(deletionProtectionEnabled=False)
        with pytest.raises(psycopg.OperationalError, match="is CREATING"):
            connect(first)
        waiters[0].wait(identifier=first["identifier"])
        (region,) = lifecycle.status(tmp_path).regions
        assert region.endpoint == first["endpoint"]
        connection = connect(first)
        connection.execute("CREATE TABLE mine (id uuid PRIMARY KEY)")
        connection.execute("CREATE ROLE app WITH LOGIN")
        connection.execute("AWS IAM GRANT app TO 'arn:aws:iam::1:role/x'")
        client.delete_cluster(identifier=first["identifier"])
        waiters[1].wait(identifier=first["identifier"])
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
        with pytest.raises(psycopg.OperationalError, match="does not match host name"):
            connect(first)
        second = client.create_cluster(deletionProtectionEnabled=False)
        waiters[0].wait(identifier=second["identifier"])
        with connect(second) as again:
            again.execute("CREATE TABLE mine (id uuid PRIMARY KEY)")
            again.execute("CREATE ROLE app WITH LOGIN")
            mapped = again.execute("SELECT * FROM sys.iam_pg_role_mappings")
            assert mapped.fetchall() == []
    finally:
        lifecycle.reset(tmp_path)
