import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def environment_is_put_back() -> Iterator[None]:
    """Zappa's settings callback makes AWS the target of its whole process."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
