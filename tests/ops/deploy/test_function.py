"""What is found of a deployment decides whether it may be removed."""

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.stub import Stubber

from ops import aws
from ops.deploy import function
from ops.deploy.found import NotReady

REGION, NAME = "us-east-1", "app-primary"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.fixture
def formation() -> Iterator[Stubber]:
    with Stubber(aws.client("cloudformation", REGION)) as stub:
        yield stub
        stub.assert_no_pending_responses()


@pytest.fixture
def functions() -> Iterator[Stubber]:
    with Stubber(aws.client("lambda", REGION)) as stub:
        yield stub
        stub.assert_no_pending_responses()


def has_stack(formation: Stubber, status: str | None) -> None:
    if status is None:
        text = f"Stack with id {NAME} does not exist"
        formation.add_client_error("describe_stacks", "ValidationError", text)
        return
    stack = {"StackName": NAME, "CreationTime": "2026-01-01", "StackStatus": status}
    formation.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": NAME})


def has_function(functions: Stubber, *, there: bool = True, **more: Any) -> None:
    if there:
        functions.add_response(
            "get_function_configuration", more, {"FunctionName": NAME}
        )
    else:
        functions.add_client_error(
            "get_function_configuration", "ResourceNotFoundException"
        )


@pytest.mark.parametrize(
    ("stack", "there", "expected"),
    [
        (None, False, function.ABSENT),
        ("DELETE_COMPLETE", False, function.ABSENT),
        (None, True, function.PARTIAL),
        ("ROLLBACK_COMPLETE", True, function.PARTIAL),
        ("CREATE_COMPLETE", False, function.PARTIAL),
        ("CREATE_COMPLETE", True, function.COMPLETE),
        ("UPDATE_ROLLBACK_COMPLETE", True, function.COMPLETE),
        ("IMPORT_COMPLETE", True, function.COMPLETE),
    ],
)
def test_only_what_serves_nobody_is_partial(
    formation: Stubber, functions: Stubber, stack: str | None, there: bool,
    expected: str,
) -> None:  # fmt: skip
    has_stack(formation, stack)
    has_function(functions, there=there)
    assert function.state(REGION, NAME) == expected


@pytest.mark.parametrize(
    "stack",
    ["CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
     "UPDATE_ROLLBACK_FAILED", "UPDATE_FAILED"],
)  # fmt: skip
def test_a_stack_that_may_serve_is_left_alone(
    formation: Stubber, functions: Stubber, stack: str
) -> None:
    has_stack(formation, stack)
    has_function(functions)
    with pytest.raises(NotReady, match=f"{NAME} is {stack}. Wait until it is done"):
        function.state(REGION, NAME)


def test_what_a_deployment_changes_is_kept_to_be_put_back(functions: Stubber) -> None:
    network = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    kept = {"MemorySize": 512, "Environment": {"Variables": {"API_AUTH": "oidc"}}}
    has_function(functions, **kept, VpcConfig={**network, "VpcId": "vpc-1"}, CodeSize=1)
    found = function.settings(REGION, NAME)
    assert found == {**kept, "VpcConfig": network}
    has_function(functions, **kept, VpcConfig=network)
    function.restore(REGION, NAME, found)  # nothing differs: no call changes anything


@pytest.mark.parametrize(("there", "expected"), [(True, {"A": "1"}), (False, None)])
def test_an_absent_function_has_no_variables(
    functions: Stubber, there: bool, expected: dict[str, str] | None
) -> None:
    has_function(functions, there=there, Environment={"Variables": {"A": "1"}})
    assert function.variables(REGION, NAME) == expected
