"""The wanted state, read from the environment."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from ops.topology import Topology


def test_the_defaults() -> None:
    wanted = Topology.from_environment({})
    assert wanted.prefix == "multi-region-app"
    assert wanted.regions == {"primary": "us-east-1", "secondary": "us-east-2"}
    assert wanted.witness == "us-west-2"
    assert wanted.tags("secondary") == {
        "Application": "multi-region-app",
        "ManagedBy": "multi-region-app",
        "Role": "secondary",
    }


def test_a_single_region_has_neither_peer_nor_witness() -> None:
    env = {"PRIMARY_REGION": "eu-west-1", "SECONDARY_REGION": "nonsense"}
    wanted = Topology.from_environment(env, single_region=True)
    assert wanted.single_region
    assert wanted.regions == {"primary": "eu-west-1"}


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"SECONDARY_REGION": "us-east-1"}, "Two of the Regions are the same"),
        ({"WITNESS_REGION": "us-east-2"}, "WITNESS_REGION=us-east-2"),
        ({"SECONDARY_REGION": "eu-west-1"}, "different continents"),
        ({"PRIMARY_REGION": "US East"}, "PRIMARY_REGION is 'US East'"),
        ({"PRIMARY_REGION": "us-east-1a"}, "use one like us-east-1"),
        ({"CLUSTER_NAME_PREFIX": "My App"}, "CLUSTER_NAME_PREFIX is 'My App'"),
        ({"CLUSTER_NAME_PREFIX": "a" * 33}, "3 to 32"),
        ({"CLUSTER_NAME_PREFIX": "a" + "-b" * 16}, "3 to 32"),
        ({"CLUSTER_NAME_PREFIX": "a"}, "at least three of them letters"),
        ({"CLUSTER_NAME_PREFIX": "ab"}, "at least three of them letters"),
        ({"CLUSTER_NAME_PREFIX": "a-1-2-b"}, "at least three of them letters"),
        ({"CLUSTER_NAME_PREFIX": "app-"}, "not ending with a hyphen"),
        ({"CLUSTER_NAME_PREFIX": ""}, "CLUSTER_NAME_PREFIX is ''"),
    ],
)
def test_refuses_what_cannot_work_and_names_the_variable(
    env: dict[str, str], says: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        Topology.from_environment(env)


@pytest.mark.parametrize("prefix", ["abc", "a1b2c3", "a-b-c", "a" * 32])
def test_a_prefix_of_three_letters_is_accepted(prefix: str) -> None:
    env = {"CLUSTER_NAME_PREFIX": prefix}
    assert Topology.from_environment(env).prefix == prefix


def test_regions_of_one_continent_may_have_different_beginnings() -> None:
    env = {"SECONDARY_REGION": "ca-central-1"}
    assert Topology.from_environment(env).regions["secondary"] == "ca-central-1"
