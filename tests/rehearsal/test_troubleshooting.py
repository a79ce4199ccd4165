"""The README's rows about Lambda and the lines they promise; ``make rehearse`` types them."""

import re
import shlex

from tests.rehearsal.lambda_service import TIMEOUT, Init
from tests.rehearsal.troubleshooting import SHOWN, commands


def test_each_row_has_a_command_that_ends_by_itself() -> None:
    found = commands()
    assert found.keys() == SHOWN.keys()
    for command in found.values():
        words = shlex.split(command)
        assert words[:3] == [".venv/bin/zappa", "tail", "primary"]
        assert "--disable-keep-open" in words
        assert "--since" in words


def test_an_init_that_was_ended_is_reported_as_the_row_expects() -> None:
    line = Init(10.01, TIMEOUT).report("init")
    assert (
        line == "INIT_REPORT Init Duration: 10010.00 ms\tPhase: init\tStatus: timeout"
    )
    assert re.search(SHOWN["A first request takes more than 10 s"], line)
