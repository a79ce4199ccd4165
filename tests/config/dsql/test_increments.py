"""The retry policy's promise over processes: no increment is lost, none is given up."""

import pytest

from ops.local.sandbox import lifecycle
from tests.benchmarks.increments import EXPECTED, MIDDLEWARE, RACES, WAYS, Race, race

COMPLETE = Race(stored=EXPECTED, refused=0)


@pytest.mark.e2e
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", WAYS)
def test_four_processes_count_to_a_hundred(sandbox: lifecycle.Status, way: str) -> None:
    assert race(sandbox, way) == COMPLETE


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_through_the_middleware_they_do_ten_times(sandbox: lifecycle.Status) -> None:
    races = [race(sandbox, MIDDLEWARE) for _ in range(RACES)]
    assert races == [COMPLETE] * RACES
