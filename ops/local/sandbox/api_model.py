"""The ``dsql`` API as botocore's model has it: routes, and what a parameter may be.

boto3 checks types before it sends; lengths, patterns and enumerations are the
service's to check, so the sandbox checks them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape


@dataclass(slots=True)
class ApiError(Exception):
    """A response other than success, in the model's shape of that name."""

    code: str
    message: str
    members: dict[str, Any] = field(default_factory=dict)
    status: int = 0  # 0: the model's for that code

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def invalid(message: str, reason: str = "other") -> ApiError:
    return ApiError("ValidationException", message, {"reason": reason})


@cache
def service() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("dsql", "service-2"), "dsql")


def http_status(error: ApiError) -> int:
    """The model's HTTP status for the error; 403 for those of the signature check."""
    if error.status:
        return error.status
    shapes = {shape.name: shape for shape in service().error_shapes}
    shape = shapes.get(error.code)
    return int(shape.metadata["error"]["httpStatusCode"]) if shape else 403


def route(method: str, path: str) -> tuple[OperationModel, dict[str, str]]:
    """The operation and the parameters of its path. Raises ApiError."""
    for operation, pattern in _routes():
        found = pattern.fullmatch(path)
        if found and operation.http["method"] == method:
            values = {k: unquote(v) for k, v in found.groupdict().items()}
            return operation, values
    raise ApiError(
        "UnknownOperationException", f"There is no {method} {path}", status=404
    )


@cache
def _routes() -> list[tuple[OperationModel, re.Pattern[str]]]:
    routes = []
    for name in service().operation_names:
        operation = service().operation_model(name)
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", operation.http["requestUri"])
        routes.append((operation, re.compile(pattern)))
    return routes


def parameters(
    operation: OperationModel, path: dict[str, str], query: str, body: dict[str, Any]
) -> dict[str, Any]:
    """The operation's checked input. Raises ApiError with every wrong field."""
    shape: Any = operation.input_shape
    arguments = parse_qs(query, keep_blank_values=True)
    found: dict[str, Any] = {}
    for name, member in shape.members.items():
        where = member.serialization.get("location")
        key = member.serialization.get("name", name)
        if where == "uri":
            found[name] = path[key]
        elif where == "querystring" and key in arguments:
            found[name] = _from_query(member, arguments[key])
        elif where is None and body.get(key) is not None:
            found[name] = body[key]
    problems = [
        *({"name": name, "message": "is required"} for name in shape.required_members
          if name not in found),
        *(problem for name, value in found.items()
          for problem in _problems(shape.members[name], value, name)),
    ]  # fmt: skip
    if problems:
        first = problems[0]
        raise ApiError(
            "ValidationException",
            f"{len(problems)} field(s) failed validation: {first['name']} {first['message']}",
            {"reason": "fieldValidationFailed", "fieldList": problems},
        )
    return found


def _from_query(shape: Shape, values: list[str]) -> Any:
    if shape.type_name == "list":
        return values
    if shape.type_name == "integer":
        return int(values[0]) if values[0].lstrip("-").isdigit() else values[0]
    return values[0]


TYPES: dict[str, type[Any]] = {
    "string": str, "integer": int, "boolean": bool, "list": list, "map": dict,
    "structure": dict,
}  # fmt: skip


def _problems(shape: Any, value: Any, name: str) -> Iterator[dict[str, str]]:
    if not isinstance(value, TYPES[shape.type_name]):
        yield {"name": name, "message": f"must be of type {shape.type_name}"}
        return
    yield from _range_problems(shape, value, name)
    if shape.type_name == "list":
        for number, item in enumerate(value):
            yield from _problems(shape.member, item, f"{name}[{number}]")
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from _problems(shape.key, key, f"{name} key {key!r}")
            yield from _problems(shape.value, item, f"{name}[{key!r}]")
    elif shape.type_name == "structure":
        for key, member in shape.members.items():
            if key in value:
                yield from _problems(member, value[key], f"{name}.{key}")
            elif key in shape.required_members:
                yield {"name": f"{name}.{key}", "message": "is required"}


def _range_problems(shape: Any, value: Any, name: str) -> Iterator[dict[str, str]]:
    limits = shape.metadata
    size = value if isinstance(value, int) else len(value)
    if not limits.get("min", size) <= size <= limits.get("max", size):
        bounds = f"{limits.get('min', 0)} to {limits.get('max')}"
        yield {"name": name, "message": f"must have a size of {bounds}"}
    if shape.type_name != "string":
        return
    if shape.enum and value not in shape.enum:
        yield {"name": name, "message": f"must be one of {', '.join(shape.enum)}"}
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(pattern, value):
        yield {"name": name, "message": f"must match {pattern}"}
