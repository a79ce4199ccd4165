"""What is found of a deployment decides whether it may be removed."""

from typing import Any

import pytest
from moto.cloudformation.models import cloudformation_backends

from ops.deploy import function
from ops.deploy.function import Function
from ops.ownership import NotReady
from tests.ops.account import ACCOUNT, EAST, NAME, TOPOLOGY, Account

OURS = TOPOLOGY.tags("primary")
PRIMARY = Function(TOPOLOGY, "primary")


def set_status(status: str) -> None:
    """As CloudFormation would have it after a failure, or in the middle of a change."""
    stacks = cloudformation_backends[ACCOUNT][EAST].stacks.values()
    (stack,) = [found for found in stacks if found.name == NAME]
    stack.status = status


@pytest.mark.parametrize(
    ("stack", "there", "expected"),
    [
        (None, False, function.ABSENT),
        (None, True, function.PARTIAL),
        ("CREATE_FAILED", False, function.PARTIAL),
        ("ROLLBACK_COMPLETE", True, function.PARTIAL),
        ("ROLLBACK_FAILED", True, function.PARTIAL),
        ("CREATE_COMPLETE", False, function.API_ONLY),
        ("CREATE_COMPLETE", True, function.COMPLETE),
        ("UPDATE_ROLLBACK_COMPLETE", True, function.COMPLETE),
        ("IMPORT_COMPLETE", True, function.COMPLETE),
    ],
)
def test_only_what_never_served_is_partial(
    account: Account, stack: str | None, there: bool, expected: str
) -> None:
    if there:
        account.make_function("primary", OURS)
    if stack:
        account.make_api("primary", OURS)
        set_status(stack)
    assert PRIMARY.state() == expected


@pytest.mark.parametrize(
    "stack",
    ["CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
     "UPDATE_ROLLBACK_FAILED", "UPDATE_FAILED", "DELETE_FAILED"],
)  # fmt: skip
def test_a_stack_that_may_have_served_is_left_alone(
    account: Account, stack: str
) -> None:
    account.make_api("primary", OURS)
    set_status(stack)
    with pytest.raises(NotReady, match=f"{NAME} is {stack}. Wait until it is done"):
        PRIMARY.state()


def test_what_a_deployment_changes_is_kept_to_be_put_back(account: Account) -> None:
    network = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    account.make_function("primary", OURS, VpcConfig=network)
    kept = PRIMARY.settings()
    assert kept["Environment"] == {"Variables": {"API_AUTH": "none"}}
    assert kept["VpcConfig"] == network
    PRIMARY.add_variables({"API_AUTH": "oidc", "MORE": "1"})
    assert PRIMARY.variables() == {"API_AUTH": "oidc", "MORE": "1"}
    PRIMARY.restore(kept)
    assert PRIMARY.settings() == kept


def test_what_is_as_it_was_is_not_changed(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.make_function("primary", OURS)

    def fail(**_: Any) -> None:
        raise AssertionError("nothing differs")

    lambdas = account.client("lambda")
    monkeypatch.setattr(lambdas, "update_function_configuration", fail)
    PRIMARY.restore(PRIMARY.settings())
    PRIMARY.keep_variables({"API_AUTH"})


def test_variables_that_are_no_longer_set_are_dropped(account: Account) -> None:
    account.make_function("primary", OURS)
    PRIMARY.add_variables({"LEFT_OVER": "1"})
    PRIMARY.keep_variables({"API_AUTH"})
    assert PRIMARY.variables() == {"API_AUTH": "none"}


def test_an_absent_function_has_no_variables_and_takes_none(account: Account) -> None:
    assert PRIMARY.variables() is None
    PRIMARY.add_variables({"A": "1"})
    assert PRIMARY.contents() == []


def test_a_removal_is_of_the_function_and_its_api_and_says_so_first(
    account: Account,
) -> None:
    account.deploy()
    api = account.api_of(EAST, NAME)
    assert PRIMARY.contents() == [
        f"{EAST}: function {NAME}",
        f"{EAST}: stack {NAME} (CREATE_COMPLETE)",
        f"{EAST}:   AWS::ApiGateway::RestApi {api}",
    ]
    PRIMARY.remove()
    assert PRIMARY.state() == function.ABSENT
    assert Function(TOPOLOGY, "secondary").state() == function.COMPLETE
