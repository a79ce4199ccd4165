"""Whether a policy allows a request: IAM's rules, as far as our documents use them."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

Values = Mapping[str, str]


def allows(
    document: Mapping[str, Any], action: str, resource: str, **context: str
) -> bool:
    """Context keys as keywords: ``aws_ResourceTag__Role`` is aws:ResourceTag/Role."""
    named = {
        key.replace("__", "/").replace("_", ":", 1): value
        for key, value in context.items()
    }
    return any(
        _matches(statement["Action"], action)
        and _matches(statement["Resource"], resource)
        and _holds(statement.get("Condition", {}), named)
        for statement in document["Statement"]
    )


def tagged(key: str, application: str, managed_by: str = "multi-region-app") -> Values:
    """Context of a request's or a resource's tags."""
    return {
        f"aws_{key}__Application": application,
        f"aws_{key}__ManagedBy": managed_by,
    }


def _matches(patterns: Any, text: str) -> bool:
    patterns = patterns if isinstance(patterns, list) else [patterns]
    # IAM knows * and ? alone; a bracket stands for itself.
    return any(fnmatchcase(text, each.replace("[", "[[]")) for each in patterns)


def _holds(condition: Mapping[str, Any], context: Values) -> bool:
    known = {
        "StringEquals", "ArnEquals", "StringEqualsIfExists", "ForAnyValue:StringEquals",
    }  # fmt: skip
    assert set(condition) <= known
    for operator, pairs in condition.items():
        for key, wanted in pairs.items():
            values = wanted if isinstance(wanted, list) else [wanted]
            if key not in context and operator.endswith("IfExists"):
                continue
            if context.get(key) not in values:
                return False
    return True
