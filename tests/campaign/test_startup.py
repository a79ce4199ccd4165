"""Starting while the database is away: init is never killed, no request hangs."""

from collections.abc import Iterator

import pytest

from tests.campaign.startup import CASES, DOCUMENTED, Start, Starts, starts

pytestmark = pytest.mark.e2e
OK = "200"
# Both requests; where silence and its end fall together either may come first.
CERTAIN = {
    "nothing": [OK, OK],
    "waking up for 8 s": [OK, OK],
    "waking up for 20 s": [DOCUMENTED, OK],
    "own Region waking up": [OK, OK],
    "logins take 8 s": [DOCUMENTED, DOCUMENTED],
    "three dead addresses": [OK, OK],
    "three dead addresses, both Regions": [DOCUMENTED, DOCUMENTED],
    "own Region silent": [OK, OK],
    "both Regions silent": [DOCUMENTED, DOCUMENTED],
    "login refused": [DOCUMENTED, DOCUMENTED],
}


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starts]:
    with starts(tmp_path_factory.mktemp("startup")) as ready:
        yield ready


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_init_is_in_time_and_both_requests_are_served_or_refused_as_documented(
    name: str, ready: Starts, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ready.run(name)
    with capsys.disabled():
        print(f"\n{start.line()}")
    assert start.findings == [], start.log[-10_000:]
    statuses = [status for _, status in start.requests]
    assert statuses == CERTAIN.get(name, statuses)


def test_what_takes_too_long_is_a_finding() -> None:
    start = Start("slow", 3.0, "ready", 2.01, [(26.0, "200"), (29.0, "504")])
    assert start.findings == [
        "slow: prepare() took 2.01 s",
        "slow: a request took 29.0 s",
        "slow: a request took 29.0 s",
        "slow: 504",
    ]


def test_an_init_that_was_killed_is_a_finding() -> None:
    start = Start("killed", 10.0, "timeout", None, [(1.0, "200"), (0.1, "200")])
    assert start.findings == ["killed: init timeout", "killed: prepare() took None s"]


def test_a_documented_refusal_is_none() -> None:
    refused = (6.0, "503 database_unavailable")
    assert Start("away", 2.5, "ready", 2.0, [refused, refused]).findings == []
