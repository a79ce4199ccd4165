"""The authenticated caller, from an access token or from API Gateway."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """``id`` is "" where neither the API nor API Gateway authenticates callers."""

    id: str
    scopes: frozenset[str]
