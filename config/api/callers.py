"""Who calls, whoever found that out."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """``id`` is "" for a caller who was not asked, here or by API Gateway."""

    id: str
    scopes: frozenset[str]
