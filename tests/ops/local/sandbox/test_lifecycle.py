import os
import signal
import socket
import threading
from pathlib import Path

import pytest
from psycopg import errors

from ops.local.sandbox import lifecycle
from ops.local.sandbox.clusters import Timing
from ops.local.sandbox.lifecycle import SandboxError, Status
from ops.local.sandbox.state import State
from ops.sandbox_status import StateError
from tests.golden.replay import connect


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b'{"port": 1}', b"\xff\xfe", b'"text"',
        b'{"regions": [{"role": 1}], "keys": [], "port": 1}',
        b'{"regions": [], "keys": [], "port": 1}',
    ],
)  # fmt: skip
def test_a_state_that_cannot_be_read_is_one_line_with_the_way_out(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "sandbox.json").write_bytes(content)
    for function in (lifecycle.status, lifecycle.up):
        with pytest.raises(StateError) as caught:
            function(tmp_path)
        (line,) = str(caught.value).splitlines()
        assert line.startswith(f"{tmp_path / 'sandbox.json'} cannot be read")
        assert line.endswith("run `manage.py sandbox reset`.")
    assert lifecycle.reset(tmp_path) is True
    assert lifecycle.status(tmp_path).state == "absent"


def test_the_state_survives_its_file(tmp_path: Path) -> None:
    state = State.new(20_001, ("DbConnect",), Timing(create=0.7), "app")
    state.save(tmp_path)
    assert State.load(tmp_path) == state
    assert (tmp_path / "sandbox.json").stat().st_mode & 0o777 == 0o600


def test_what_is_assumed_outlives_a_stop(tmp_path: Path) -> None:
    try:
        names = ("deallocate-name", "plpgsql", "unique-enforced")
        lifecycle.up(tmp_path, assume=names, durable=False, job_delay=3600)
        lifecycle.down(tmp_path)
        status = lifecycle.up(tmp_path)
        assert status.assume == names
        with connect(status) as session:
            session.execute(
                "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS "
                "'BEGIN RETURN 7; END'"
            )
            assert session.execute("SELECT f()").fetchone() == (7,)
            session.pgconn.prepare(b"p", b"SELECT 1")
            session.execute("DEALLOCATE p")
            session.execute("CREATE TABLE t (a int)")
            session.execute("CREATE UNIQUE INDEX ASYNC ON t (a)")
            session.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(errors.UniqueViolation):
                session.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(SandboxError, match=r"`manage\.py sandbox down` first"):
            lifecycle.up(tmp_path, assume=[])
        lifecycle.down(tmp_path)
        assert lifecycle.up(tmp_path, assume=[]).assume == ()
    finally:
        lifecycle.reset(tmp_path)


def test_an_unknown_assumption_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="There is no assumption 'moon'"):
        lifecycle.up(tmp_path / "new", assume=["moon"])
    assert not (tmp_path / "new").exists()


def test_nothing_to_stop_or_delete_is_no_error(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    assert lifecycle.status(missing).state == "absent"
    assert lifecycle.down(missing) is False
    assert lifecycle.reset(missing) is False
    assert not missing.exists()


def test_a_taken_port_is_named_then_two_starters_find_one_sandbox_that_is_killed(
    tmp_path: Path,
) -> None:
    try:
        with socket.create_server((lifecycle.HOST, 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(SandboxError) as caught:
                lifecycle.up(tmp_path, port=port)
            assert "address already in use" in str(caught.value).lower()
            assert "sandbox up --port <another>" in str(caught.value)
            assert lifecycle.status(tmp_path).state == "stopped"
        found: list[Status] = []
        starters = [
            threading.Thread(target=lambda: found.append(lifecycle.up(tmp_path)))
            for _ in range(2)
        ]
        for starter in starters:
            starter.start()
        for starter in starters:
            starter.join()
        assert len(found) == 2
        assert found[0] == found[1]
        assert (found[0].state, found[0].port) == ("running", port)

        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
        assert lifecycle._wait(
            lambda: lifecycle.status(tmp_path).state == "stopped", 10
        )
        data = lifecycle.data_directory(found[0])
        pidfile = data / "data" / "postmaster.pid"
        assert pidfile.exists()
        assert lifecycle.down(tmp_path) is False
        assert not pidfile.exists()
    finally:
        lifecycle.reset(tmp_path)
    assert not tmp_path.exists()
    assert not data.exists()
