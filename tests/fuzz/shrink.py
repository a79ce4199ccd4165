"""The smallest conversation that still differs."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Part = TypeVar("Part")


def shrink(
    parts: Sequence[Part], differs: Callable[[Sequence[Part]], str | None], said: str
) -> tuple[list[Part], str]:
    """Leave out one part after the other while the rest differs; what it then says.

    ``said`` is the difference as it was found: it may be one that does not come again.
    """
    left, at = list(parts), 0
    while at < len(left):
        fewer = left[:at] + left[at + 1 :]
        if found := differs(fewer):
            left, said = fewer, found
        else:
            at += 1
    return left, said
