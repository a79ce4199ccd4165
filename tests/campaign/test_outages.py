"""Every outage under load: nothing hangs, everything comes back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.campaign.outages import FROZEN, OUTAGES, SERVED, Outage, Sample, run
from tests.campaign.regions import Regions, regions

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outages") / "sandbox"


@pytest.fixture(scope="module")
def served(root: Path) -> Iterator[Regions]:
    with regions(root, settings=SERVED) as served:
        yield served


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OUTAGES, FROZEN])
def test_no_request_hangs_in_an_outage_and_all_is_well_afterwards(
    name: str, served: Regions, root: Path
) -> None:
    outage = run(name, served, root)
    assert outage.findings == [], outage.line()
    assert {sample.kind for sample in outage.samples} == {"GET", "POST", "health"}
    assert any(sample.well for sample in outage.samples)


def test_what_takes_too_long_is_a_finding() -> None:
    outage = Outage("slow", ended=100.0)
    outage.samples = [
        Sample("GET", 50.0, 25.1, "200", own=True),
        Sample("health", 50.0, 3.1, "503", own=True),
        Sample("POST", 131.0, 0.1, "500 internal_error", own=True),
    ]
    assert [finding.partition(": ")[2] for finding in outage.findings] == [
        "a request took 25.1 s",
        "/health took 3.1 s",
        "well again only after 31.1 s",
        "POST 500 internal_error",
    ]
