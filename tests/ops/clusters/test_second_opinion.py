"""moto's own ``dsql`` service as a second opinion: provision, status and destroy.

It has no life cycle of peers and another endpoint format; tags, protection, peers by update
and lists are as in the API's model.
"""

from typing import Any

import pytest
from moto.dsql.models import Cluster, dsql_backends

from tests.ops.account import ACCOUNT, EAST, OHIO, PREFIX, TOPOLOGY, Account

DESTROY = f"dsql_destroy --yes --prefix {PREFIX}"


def clusters(region: str) -> list[Cluster]:
    return list(dsql_backends[ACCOUNT][region].clusters.values())


def whole(region: str) -> Cluster:
    (cluster,) = clusters(region)
    return cluster


def peers(cluster: Cluster) -> list[str]:
    properties: dict[str, Any] = cluster.multi_region_properties or {}
    return [arn for arn in properties.get("clusters", []) if arn != cluster.arn]


@pytest.fixture
def provisioned(account: Account) -> Account:
    account.manage("dsql_provision")
    return account


def test_two_protected_clusters_with_tags_name_each_other(provisioned: Account) -> None:
    for role, region, other in (("primary", EAST, OHIO), ("secondary", OHIO, EAST)):
        cluster = whole(region)
        assert cluster.tags == TOPOLOGY.tags(role)
        assert cluster.deletion_protection_enabled
        assert peers(cluster) == [whole(other).arn]
        properties: dict[str, Any] = cluster.multi_region_properties or {}
        assert properties["witnessRegion"] == TOPOLOGY.witness


def test_a_second_run_changes_nothing(provisioned: Account) -> None:
    before = provisioned.photograph()
    provisioned.manage("dsql_provision")
    assert provisioned.photograph() == before


def test_status_shows_both(provisioned: Account) -> None:
    output = provisioned.manage("dsql_status")
    for region in (EAST, OHIO):
        assert region in output
        assert whole(region).identifier in output


@pytest.mark.parametrize("half", ["peer", "all"])
def test_what_is_missing_is_made_again(provisioned: Account, half: str) -> None:
    first, second = whole(EAST), whole(OHIO)
    first.multi_region_properties = {"witnessRegion": TOPOLOGY.witness, "clusters": []}
    if half == "all":
        second.multi_region_properties = {
            "witnessRegion": TOPOLOGY.witness, "clusters": []
        }  # fmt: skip
    provisioned.manage("dsql_provision")
    assert peers(whole(EAST)) == [second.arn]
    assert peers(whole(OHIO)) == [first.arn]


def test_clusters_are_found_by_tags_among_pages_of_others(provisioned: Account) -> None:
    ours = {region: whole(region).identifier for region in (EAST, OHIO)}
    for number in range(120):  # more than a page
        provisioned.client("dsql").create_cluster(
            tags={"Application": "another", "number": str(number)}
        )
    provisioned.manage("dsql_provision")
    assert len(clusters(EAST)) == 121
    assert ours[EAST] in provisioned.manage("dsql_status")


def test_destroy_lifts_the_protection_and_deletes_ours_alone(
    provisioned: Account,
) -> None:
    other = provisioned.client("dsql").create_cluster(
        tags={"Application": "another"}, deletionProtectionEnabled=True
    )
    provisioned.manage(DESTROY)
    assert [cluster.identifier for cluster in clusters(EAST)] == [other["identifier"]]
    assert whole(EAST).deletion_protection_enabled
    assert clusters(OHIO) == []
