"""The boundary is made where that is allowed, kept up to date, and only when it is ours."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from ops import aws
from ops.ownership import NotReady
from ops.stacks.boundary import MAX_VERSIONS, Boundary
from ops.topology import Topology

TOPOLOGY = Topology.from_environment({"CLUSTER_NAME_PREFIX": "shop"})
ARN = "arn:aws:iam::123456789012:policy/shop-boundary"
OTHER = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}],
}


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(aws, "_session", cache(boto3.Session))
    with mock_aws():
        yield


def iam() -> Any:
    return aws.client("iam", "us-east-1")


def current() -> Any:
    version = iam().get_policy(PolicyArn=ARN)["Policy"]["DefaultVersionId"]
    return iam().get_policy_version(PolicyArn=ARN, VersionId=version)["PolicyVersion"]


def make_another(tags: dict[str, str]) -> None:
    iam().create_policy(
        PolicyName="shop-boundary",
        PolicyDocument=json.dumps(OTHER),
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )


def apply() -> list[str]:
    said: list[str] = []
    Boundary(TOPOLOGY).apply(said.append)
    return said


def test_it_is_made_with_our_tags_and_the_printed_document() -> None:
    assert Boundary(TOPOLOGY).pending() == f"create the permissions boundary {ARN}"
    assert apply() == [f"{ARN} is made"]
    tags = iam().get_policy(PolicyArn=ARN)["Policy"]["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == TOPOLOGY.common_tags
    assert current()["Document"] == Boundary(TOPOLOGY).document


def test_a_second_time_nothing_changes() -> None:
    apply()
    before = current()
    assert Boundary(TOPOLOGY).pending() is None
    assert apply() == []
    assert current() == before


def test_one_of_an_earlier_release_is_brought_up_to_date() -> None:
    make_another(TOPOLOGY.common_tags)
    for _ in range(MAX_VERSIONS - 1):
        iam().create_policy_version(
            PolicyArn=ARN, PolicyDocument=json.dumps(OTHER), SetAsDefault=True
        )
    assert Boundary(TOPOLOGY).pending() == f"change {ARN}"
    assert apply() == [f"{ARN} is up to date"]
    assert current()["Document"] == Boundary(TOPOLOGY).document
    kept = iam().list_policy_versions(PolicyArn=ARN)["Versions"]
    assert len(kept) == MAX_VERSIONS


@pytest.mark.parametrize("tags", [{}, {"Application": "bank"}, {"Application": "shop"}])
def test_somebody_elses_policy_of_the_name_is_refused_and_survives(
    tags: dict[str, str],
) -> None:
    make_another(tags)
    with pytest.raises(NotReady, match="is not ours"):
        apply()
    said: list[str] = []
    Boundary(TOPOLOGY).delete(said.append)
    assert current()["Document"] == OTHER
    assert said[0].startswith(f"{ARN} remains: ")


@pytest.mark.parametrize("exists", [False, True])
def test_without_the_right_to_it_is_said_who_has_to_make_it(
    exists: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if exists:
        make_another(TOPOLOGY.common_tags)
    boundary = Boundary(TOPOLOGY)

    def refuse(**_: Any) -> None:
        raise ClientError(
            {"Error": {"Code": "AccessDenied", "Message": "no"}}, "Create"
        )

    for name in ("create_policy", "create_policy_version"):
        monkeypatch.setattr(boundary.client, name, refuse)
    with pytest.raises(NotReady, match="Have an administrator run") as caught:
        boundary.apply(lambda _: None)
    assert ("missing" in str(caught.value)) is not exists


def test_it_is_deleted_with_all_its_versions() -> None:
    make_another(TOPOLOGY.common_tags)
    apply()
    said: list[str] = []
    Boundary(TOPOLOGY).delete(said.append)
    assert said == [f"{ARN} is deleted"]
    with pytest.raises(iam().exceptions.NoSuchEntityException):
        current()
    Boundary(TOPOLOGY).delete(said.append)
    assert len(said) == 1


def test_while_a_role_needs_it_it_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    apply()
    boundary = Boundary(TOPOLOGY)

    def refuse(**_: Any) -> None:
        raise ClientError(
            {"Error": {"Code": "DeleteConflict", "Message": "attached to entities"}},
            "DeletePolicy",
        )

    monkeypatch.setattr(boundary.client, "delete_policy", refuse)
    said: list[str] = []
    boundary.delete(said.append)
    assert said[0].startswith(f"{ARN} remains: ")
    assert current()["Document"] == boundary.document
