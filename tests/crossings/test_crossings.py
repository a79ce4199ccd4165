import json
import subprocess
import sys

import pytest

from config.api import parameters, timestamps
from tests.crossings.__main__ import LIMITS
from tests.crossings.counting import PROJECT, Counting


@pytest.mark.slow
def test_no_request_and_no_command_crosses_more_files_than_its_limit() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.crossings", "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=PROJECT,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert json.loads(done.stdout)["exceeded"] == []


def test_every_limit_is_at_most_what_was_counted_before() -> None:
    for row in json.loads(LIMITS.read_text()).values():
        assert row["limit"] <= row["before"]


def test_a_call_into_another_product_file_counts_and_one_within_a_file_does_not() -> (
    None
):
    with Counting() as counting:
        parameters.bad_parameter("limit", "Too large.")
        timestamps.parse("2026-11-24T09:30:00Z")  # calls a function beside it
    pair = ("config/api/parameters.py", "config/api/problems.py")
    assert counting.pairs == {pair: 1}
