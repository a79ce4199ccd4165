"""The sandbox answers as the recorded cluster did."""

import os
from pathlib import Path

import pytest

from ops.local.sandbox import lifecycle
from tests.golden.replay import replay

GOLDEN = os.environ.get("DSQL_GOLDEN_DIR", "")


@pytest.mark.skipif(not GOLDEN, reason="DSQL_GOLDEN_DIR names no recordings")
@pytest.mark.parametrize("protocol", ["extended", "simple"])
def test_every_given_answer_agrees(protocol: str, tmp_path: Path) -> None:
    try:
        # An index build of the recorded cluster outlasted the cases after it.
        status = lifecycle.up(tmp_path, job_delay=300, durable=False)
        report = replay(status, Path(GOLDEN), protocol=protocol)
    finally:
        lifecycle.reset(tmp_path)
    assert report.total >= 228
    assert report.pairs >= 10
    assert report.pairs_same == report.pairs
    assert report.misses == report.details == []
