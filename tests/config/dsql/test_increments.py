"""The runner's promise over processes: no increment is lost, none is given up."""

import pytest

from ops.local.sandbox import lifecycle
from tests.benchmarks.increments import EXPECTED, Race, race


@pytest.mark.e2e
@pytest.mark.django_db(transaction=True)
def test_four_processes_count_to_a_hundred(sandbox: lifecycle.Status) -> None:
    assert race(sandbox) == Race(stored=EXPECTED, refused=0)
