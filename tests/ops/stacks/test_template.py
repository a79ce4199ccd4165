from pathlib import Path
from typing import Any

import pytest

from ops.stacks.template import Template

TEXT = """
Parameters:
  Stage: {Type: String}
  Days: {Type: Number, Default: 30}
Conditions:
  IsPrimary: !Equals [!Ref Stage, primary]
Resources:
  Thing:
    Type: AWS::Example::Thing
    Properties:
      Name: !Sub "${Stage}-${AWS::Region}"
      Days: !Ref Days
      List:
        - always
        - !If [IsPrimary, !Ref Stage, !Ref AWS::NoValue]
        - Fn::If: [IsPrimary, {Key: !Ref Stage}, {Key: other}]
      Absent: !If [IsPrimary, !Ref AWS::NoValue, there]
      Nested: {Fn::Sub: "x ${Stage}"}
  Unknown:
    Properties:
      Name: !GetAtt Thing.Arn
"""


def properties(tmp_path: Path, stage: str, resource: str = "Thing") -> dict[str, Any]:
    path = tmp_path / "template.yaml"
    path.write_text(TEXT)
    values = {"Stage": stage, "AWS::Region": "us-east-1"}
    return Template.read(path, values).properties(resource)


def test_functions_are_replaced_by_what_they_give(tmp_path: Path) -> None:
    assert properties(tmp_path, "primary") == {
        "Name": "primary-us-east-1",
        "Days": "30",
        "List": ["always", "primary", {"Key": "primary"}],
        "Nested": "x primary",
    }


def test_what_a_condition_leaves_out_is_not_there(tmp_path: Path) -> None:
    found = properties(tmp_path, "secondary")
    assert found["List"] == ["always", {"Key": "other"}]
    assert found["Absent"] == "there"


def test_an_unknown_function_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="Fn::GetAtt is not known here"):
        properties(tmp_path, "primary", "Unknown")


def test_a_value_that_the_stack_does_not_give_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "template.yaml"
    path.write_text(TEXT)
    with pytest.raises(KeyError, match="Stage"):
        Template.read(path, {"AWS::Region": "us-east-1"}).properties("Thing")
