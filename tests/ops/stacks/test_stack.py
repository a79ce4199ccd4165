"""What another stack takes: a template file and a class of its parameters."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from ops.ownership import NotReady
from ops.stacks.stack import Parameters, Stack
from tests.ops.account import EAST, NAME, TOPOLOGY, Account, listed


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeParameters(Parameters):
    TEMPLATE: ClassVar[Path] = Path(__file__).with_name("notice.yaml")

    topic_text: str
    is_loud: bool = True


PARAMETERS = NoticeParameters(prefix="p3x", role="primary", topic_text="Maintenance")


@pytest.fixture
def stack(account: Account) -> Stack:
    return Stack(TOPOLOGY, "primary", NoticeParameters)


def test_a_field_is_the_parameter_of_its_name() -> None:
    assert PARAMETERS.values() == {
        "Prefix": "p3x",
        "Role": "primary",
        "TopicText": "Maintenance",
        "IsLoud": "yes",
    }


def test_it_is_planned_applied_changed_and_deleted(stack: Stack) -> None:
    said: list[str] = []
    assert stack.name == f"{NAME}-notice"
    assert (stack.status(), stack.outputs(), stack.contents()) == (None, None, [])

    plan = stack.plan(PARAMETERS, said.append)
    assert [str(each) for each in plan.changes] == ["create Topic (AWS::SNS::Topic)"]
    stack.discard(plan)
    assert stack.status() is None

    stack.apply(stack.plan(PARAMETERS, said.append), said.append)
    assert f"{EAST}: CREATE_COMPLETE {stack.name}" in said
    topic = f"arn:aws:sns:{EAST}:123456789012:p3x-primary"
    assert stack.outputs() == {"TopicArn": topic}
    assert stack.parameters()["TopicText"] == "Maintenance"
    assert stack.contents() == [
        f"{EAST}: stack {stack.name} (CREATE_COMPLETE)",
        f"{EAST}:   AWS::SNS::Topic {topic}",
    ]

    assert stack.delete(said.append) is True
    assert stack.status() is None
    assert stack.delete(said.append) is False


def test_a_stack_of_the_name_that_is_not_ours_is_left_alone(
    account: Account, stack: Stack
) -> None:
    account.client("cloudformation").create_stack(
        StackName=stack.name,
        TemplateBody=NoticeParameters.TEMPLATE.read_text(),
        Parameters=[
            {"ParameterKey": name, "ParameterValue": value}
            for name, value in PARAMETERS.values().items()
        ],
        Tags=listed({"Application": "bank"}),
    )
    before = account.photograph()
    for call in (
        lambda: stack.plan(PARAMETERS, print),
        lambda: stack.delete(print),
        stack.contents,
        stack.outputs,
    ):
        with pytest.raises(NotReady, match="is tagged Application=bank"):
            call()
    assert account.photograph() == before
