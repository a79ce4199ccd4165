import os
import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def environment_is_put_back() -> Iterator[None]:
    """Zappa's settings callback makes AWS the target of its whole process, and limits it."""
    before = dict(os.environ)
    yield
    signal.alarm(0)
    os.environ.clear()
    os.environ.update(before)
