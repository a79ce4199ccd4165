"""Whoever provisions makes, changes and deletes our clusters, and no others."""

import pytest

from ops.policies import PURPOSES, Scope
from ops.topology import Topology
from tests.ops.policies.evaluation import allows, tagged

ACCOUNT = "111122223333"
SHOP = Topology.from_environment({"CLUSTER_NAME_PREFIX": "shop"})
CLUSTER = f"arn:aws:dsql:us-east-1:{ACCOUNT}:cluster/abc"
OURS, OTHERS = tagged("ResourceTag", "shop"), tagged("ResourceTag", "bank")
KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
CRYPTOGRAPHIC = (
    "Decrypt",
    "Encrypt",
    "GenerateDataKey",
    "ReEncryptFrom",
    "ReEncryptTo",
)


def policy(**kms_keys: str) -> dict:  # type: ignore[type-arg] # JSON
    return PURPOSES["provision"](Scope(SHOP, ACCOUNT, {}, kms_keys=kms_keys))


def key_arn(region: str = "us-east-1", key: str = KEY) -> str:
    return f"arn:aws:kms:{region}:{ACCOUNT}:key/{key}"


def test_listing_stands_on_everything_for_it_knows_no_resource() -> None:
    found = {
        action: statement["Resource"]
        for statement in policy()["Statement"]
        for action in statement["Action"]
    }
    assert found["dsql:ListClusters"] == ["*"]
    assert [action for action, on in found.items() if on == ["*"]] == [
        "dsql:ListClusters"
    ]


@pytest.mark.parametrize("action", ["DeleteCluster", "UpdateCluster", "DbConnectAdmin"])
def test_a_cluster_is_told_by_its_tags(action: str) -> None:
    assert allows(policy(), f"dsql:{action}", CLUSTER, **OURS)
    assert not allows(policy(), f"dsql:{action}", CLUSTER, **OTHERS)
    assert not allows(policy(), f"dsql:{action}", CLUSTER)


def test_a_cluster_is_made_with_our_tags() -> None:
    assert allows(
        policy(), "dsql:CreateCluster", CLUSTER, **tagged("RequestTag", "shop")
    )
    assert not allows(policy(), "dsql:CreateCluster", CLUSTER)
    bank = tagged("RequestTag", "bank")
    assert not allows(policy(), "dsql:CreateCluster", CLUSTER, **bank)


@pytest.mark.parametrize(
    "action", ["AddPeerCluster", "PutMultiRegionProperties", "RemovePeerCluster"]
)
def test_another_applications_cluster_is_not_peered(action: str) -> None:
    # One that is being made has no tags yet.
    assert allows(policy(), f"dsql:{action}", CLUSTER)
    assert allows(policy(), f"dsql:{action}", CLUSTER, **OURS)
    assert not allows(policy(), f"dsql:{action}", CLUSTER, **OTHERS)


def test_another_applications_cluster_is_not_tagged_as_ours() -> None:
    request = tagged("RequestTag", "shop")
    assert allows(policy(), "dsql:TagResource", CLUSTER, **request)
    assert allows(policy(), "dsql:TagResource", CLUSTER, **OURS)
    assert not allows(policy(), "dsql:TagResource", CLUSTER, **request, **OTHERS)


def test_known_clusters_are_named() -> None:
    arns = {
        role: f"arn:aws:dsql:{region}:{ACCOUNT}:cluster/{role}"
        for role, region in SHOP.regions.items()
    }
    found = PURPOSES["provision"](Scope(SHOP, ACCOUNT, arns))
    assert allows(found, "dsql:DbConnectAdmin", arns["primary"])
    assert not allows(found, "dsql:DbConnectAdmin", CLUSTER, **OURS)


@pytest.mark.parametrize("key", [KEY, key_arn()])
@pytest.mark.parametrize("action", CRYPTOGRAPHIC)
def test_a_customers_key_is_used_through_dsql_for_its_clusters_alone(
    key: str, action: str
) -> None:
    through = {
        "kms_ViaService": "dsql.us-east-1.amazonaws.com",
        "kms_EncryptionContextKeys": "aws:dsql:ClusterId",
    }
    found = policy(primary=key)
    assert allows(found, f"kms:{action}", key_arn(), **through)
    assert not allows(found, f"kms:{action}", key_arn())
    assert not allows(found, f"kms:{action}", key_arn(key="other"), **through)
    elsewhere = {**through, "kms_ViaService": "s3.us-east-1.amazonaws.com"}
    assert not allows(found, f"kms:{action}", key_arn(), **elsewhere)


@pytest.mark.parametrize("key", [KEY, key_arn()])
def test_a_customers_key_is_described(key: str) -> None:
    assert allows(policy(primary=key), "kms:DescribeKey", key_arn())
    assert not allows(policy(primary=key), "kms:DescribeKey", key_arn(key="other"))


def test_a_key_named_by_its_alias_is_told_by_it() -> None:
    found = policy(secondary="alias/mine")
    arn = key_arn("us-east-2")
    assert allows(found, "kms:DescribeKey", arn, kms_ResourceAliases="alias/mine")
    assert not allows(found, "kms:DescribeKey", arn, kms_ResourceAliases="alias/other")
    assert not allows(found, "kms:DescribeKey", arn)


@pytest.mark.parametrize("keys", [{}, {"primary": "AWS_OWNED_KMS_KEY"}])
def test_without_a_customers_key_nothing_of_kms_is_allowed(
    keys: dict[str, str],
) -> None:
    assert "kms:" not in str(policy(**keys))
