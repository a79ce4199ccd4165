"""Who is let into the database: the roles that our own stacks made."""

from contextlib import nullcontext
from typing import Any

import pytest

from ops.management.commands import dsql_database
from ops.stacks.runtime import RuntimeStack
from ops.target import AWS, VARIABLE
from tests.ops.account import TOPOLOGY, Account, Refused, listed

THEIRS = {"Application": "shop", "ManagedBy": "terraform"}


@pytest.fixture
def mapped(account: Account, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ARNs that are let in; moto has no database."""
    found: list[str] = []

    def prepare(_: str, arns: list[str], *__: Any, **___: Any) -> int:
        found.extend(arns)
        return len(arns)

    monkeypatch.setattr(dsql_database, "prepare", prepare)
    monkeypatch.setattr(dsql_database, "connected", lambda _: nullcontext("alias"))
    monkeypatch.setenv(VARIABLE, AWS)
    return found


def test_the_roles_of_our_stacks_are_let_in(
    account: Account, mapped: list[str]
) -> None:
    account.make_stacks()
    account.manage("dsql_database")
    stacks = [RuntimeStack(TOPOLOGY, role) for role in TOPOLOGY.regions]
    assert mapped == [(stack.outputs() or {})["RoleArn"] for stack in stacks]


def test_a_role_that_another_team_made_of_that_name_is_not(
    account: Account, mapped: list[str]
) -> None:
    account.provision()
    account.role("shop-primary-runtime")
    with pytest.raises(Refused, match=r"First: manage\.py stack deploy --role primary"):
        account.manage("dsql_database")
    account.client("cloudformation").create_stack(
        StackName="shop-primary-runtime",
        TemplateBody='{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}',
        Tags=listed(THEIRS),
    )
    with pytest.raises(
        Refused, match="is not ours: it is tagged Application=shop, Man"
    ):
        account.manage("dsql_database")
    assert mapped == []


def test_whom_the_operator_names_is_let_in_without_a_stack(
    account: Account, mapped: list[str]
) -> None:
    account.provision()
    arn = "arn:aws:iam::123456789012:role/named"
    account.manage(f"dsql_database --role-arn {arn}")
    assert mapped == [arn]
