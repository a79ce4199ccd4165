"""Evaluates CloudFormation templates, as far as ours need it. Pure.

What is printed about a stack is computed from its template, so that the two cannot differ.
An unknown function is an error, never a guess.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

VARIABLE = re.compile(r"\$\{([\w:]+)\}")
NO_VALUE = {"Ref": "AWS::NoValue"}


class _Loader(yaml.SafeLoader):
    """Expands the short forms: ``!Sub x`` is ``{"Fn::Sub": "x"}``."""


def _short_form(loader: _Loader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    return {name if name == "Ref" else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _short_form)


@cache
def _content(path: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = yaml.load(path.read_text(), _Loader)  # noqa: S506 - a SafeLoader
    return content


@dataclass(frozen=True, slots=True)
class Template:
    """One template with the values of a stack."""

    content: Mapping[str, Any]
    values: Mapping[str, str]  # of parameters and of pseudo parameters

    @classmethod
    def read(cls, path: Path, values: Mapping[str, str]) -> "Template":
        content = _content(path)
        defaults = {
            name: str(parameter["Default"])
            for name, parameter in content["Parameters"].items()
            if "Default" in parameter
        }
        return cls(content, {**defaults, **values})

    def properties(self, resource: str) -> dict[str, Any]:
        """The resolved properties of the resource of that logical name. Raises KeyError."""
        resolved: dict[str, Any] = self.resolve(
            self.content["Resources"][resource]["Properties"]
        )
        return resolved

    def resolve(self, value: Any) -> Any:
        """The value with every function replaced by its result."""
        if isinstance(value, list):
            return [self.resolve(item) for item in value if not self._is_absent(item)]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (name, argument), *_ = value.items()
            if name == "Ref":
                return self.values[argument]
            if name == "Fn::Sub":
                return VARIABLE.sub(lambda found: self.values[found[1]], argument)
            if name == "Fn::If":
                return self.resolve(self._chosen(argument))
            if name.startswith("Fn::"):
                raise KeyError(f"{name} is not known here")
        return {
            key: self.resolve(item)
            for key, item in value.items()
            if not self._is_absent(item)
        }

    def _is_absent(self, value: Any) -> bool:
        while isinstance(value, dict) and set(value) == {"Fn::If"}:
            value = self._chosen(value["Fn::If"])
        return bool(value == NO_VALUE)

    def _chosen(self, argument: list[Any]) -> Any:
        condition, holds, otherwise = argument
        left, right = self.content["Conditions"][condition]["Fn::Equals"]
        return holds if self.resolve(left) == self.resolve(right) else otherwise
