"""Parts of an Amazon Resource Name."""

from typing import NamedTuple


class Arn(NamedTuple):
    """``arn:partition:service:region:account:resource``."""

    partition: str
    service: str
    region: str
    account: str
    resource: str


def parse_arn(text: str) -> Arn:
    """Raises ValueError when the text has too few parts."""
    prefix, _, rest = text.partition(":")
    parts = rest.split(":", 4)
    if prefix != "arn" or len(parts) != len(Arn._fields):
        raise ValueError(f"{text!r} is not an ARN")
    return Arn(*parts)
