"""The sandbox answers as the recorded cluster did."""

import os
from pathlib import Path

import pytest

from ops.sandbox import lifecycle
from tests.golden.replay import replay

GOLDEN = os.environ.get("DSQL_GOLDEN_DIR", "")
# The recorded cluster was still building the index; here the job ends at once.
EXPLAINED = {"alter_unique_using_index"}


@pytest.mark.skipif(not GOLDEN, reason="DSQL_GOLDEN_DIR names no recordings")
@pytest.mark.parametrize("protocol", ["extended", "simple"])
def test_outcomes_and_sqlstates_agree(protocol: str, tmp_path: Path) -> None:
    try:
        report = replay(lifecycle.up(tmp_path), Path(GOLDEN), protocol=protocol)
    finally:
        lifecycle.reset(tmp_path)
    assert report.total >= 228
    assert report.share >= 0.95
    assert {miss.case for miss in report.misses} <= EXPLAINED
    assert report.details == []
