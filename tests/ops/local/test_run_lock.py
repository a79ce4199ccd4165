import os
from pathlib import Path

import pytest

from ops.local import run_lock
from ops.local.run_lock import AlreadyRunning, only_run

URLS = ["http://127.0.0.1:1", "http://127.0.0.1:2"]


def test_the_second_of_two_runs_is_told_who_the_first_is(tmp_path: Path) -> None:
    root = tmp_path / "sandbox"
    message = (
        f"manage.py run is already running (process {os.getpid()}) and serves "
        "http://127.0.0.1:1 and http://127.0.0.1:2. Stop it with Ctrl-C in its terminal, "
        f"or with `kill {os.getpid()}`."
    )
    with only_run(root, URLS, sandbox_runs=False):
        for attempt in (
            lambda: only_run(root, [], sandbox_runs=True).__enter__(),
            lambda: run_lock.release(root),
        ):
            with pytest.raises(AlreadyRunning) as caught:
                attempt()
            assert str(caught.value) == message
    with only_run(root, URLS, sandbox_runs=True) as claim:
        assert claim.owns_sandbox is False


def killed_run(root: Path) -> None:
    """What a run leaves that had no time to end."""
    with only_run(root, URLS, sandbox_runs=False):
        content = (root / run_lock.NAME).read_text()
    (root / run_lock.NAME).write_text(content)


def test_the_sandbox_of_a_killed_run_is_the_next_runs_own(tmp_path: Path) -> None:
    killed_run(tmp_path)
    with only_run(tmp_path, URLS, sandbox_runs=True) as claim:
        assert claim.owns_sandbox is True
    with only_run(tmp_path, URLS, sandbox_runs=True) as claim:
        assert claim.owns_sandbox is False


def test_a_sandbox_that_the_user_has_claimed_is_no_runs_own(tmp_path: Path) -> None:
    killed_run(tmp_path)
    run_lock.release(tmp_path)
    with only_run(tmp_path, URLS, sandbox_runs=True) as claim:
        assert claim.owns_sandbox is False


@pytest.mark.parametrize("content", ["", "{", "null", "[]", '{"pid": 1}', "\x00"])
def test_what_a_run_left_half_written_claims_nothing(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / run_lock.NAME).write_text(content)
    with only_run(tmp_path, URLS, sandbox_runs=True) as claim:
        assert claim.owns_sandbox is False


def test_releasing_where_nothing_ran_makes_nothing(tmp_path: Path) -> None:
    run_lock.release(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
