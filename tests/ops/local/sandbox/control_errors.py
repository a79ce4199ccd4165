"""The errors of the dsql API."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    pass


def refused(call: Callable[..., Any], **params: Any) -> dict[str, Any]:
    """The parsed error of a call that must fail."""
    with pytest.raises(ClientError) as caught:
        call(**params)
    return {**caught.value.response}
