"""The smallest conversation that still differs."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Part = TypeVar("Part")


def shrink(
    parts: Sequence[Part], differs: Callable[[Sequence[Part]], str | None]
) -> tuple[list[Part], str]:
    """Leave out one part after the other while the rest differs; what it then says."""
    left, said = list(parts), differs(parts) or "differs no longer"
    at = 0
    while at < len(left):
        fewer = left[:at] + left[at + 1 :]
        if found := differs(fewer):
            left, said = fewer, found
        else:
            at += 1
    return left, said
