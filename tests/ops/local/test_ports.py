from argparse import ArgumentTypeError

import pytest

from ops.local.ports import port_number


def test_a_port_is_a_number_from_1_to_65535() -> None:
    assert [port_number(text) for text in ("1", "8000", "65535")] == [1, 8000, 65535]


@pytest.mark.parametrize(
    "text", ["", "0", "65536", "-1", "+1", "1.0", "x", "\xb2", "\u0663", "9" * 5000]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is not a port"):
        port_number(text)
