"""What the sandbox does when the PostgreSQL inside it is killed."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest

from ops.local.sandbox import lifecycle
from ops.local.sandbox.clusters import ACCOUNT
from ops.local.sandbox.lifecycle import SandboxError, Status
from ops.local.sandbox.postgres import Postgres
from tests.golden.replay import connect

SECONDS = 60.0  # until a wait that never ends fails its test
WRITERS = 4
Acknowledged = list[tuple[int, int]]


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[Status]:
    """A sandbox of its own, which may be killed."""
    try:
        yield lifecycle.up(tmp_path, job_delay=0.01)
    finally:
        lifecycle.reset(tmp_path)


def postmaster(status: Status) -> int:
    return int(
        (lifecycle.data_directory(status) / "data" / "postmaster.pid")
        .read_text()
        .split()[0]
    )


def log(status: Status) -> str:
    return (status.root / "sandbox.log").read_text()


def eventually(condition: Any) -> Any:
    """The first truthy value; a database that is away counts as none."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            if found := condition():
                return found
        except psycopg.OperationalError:
            pass
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def reconnect(status: Status) -> psycopg.Connection[Any]:
    connection: psycopg.Connection[Any] = eventually(lambda: connect(status))
    return connection


def write(status: Status, writer: int, begun: Event) -> Acknowledged:
    """Insert rows until the connection breaks; those whose COMMIT was acknowledged."""
    acknowledged: Acknowledged = []
    with connect(status) as session:
        try:
            for number in range(1_000_000):
                session.execute(
                    "INSERT INTO kept (writer, number) VALUES (%s, %s)",
                    (writer, number),
                )
                acknowledged.append((writer, number))
                if number >= 20:
                    begun.set()
        except psycopg.OperationalError:
            return acknowledged
    raise AssertionError("PostgreSQL was not killed")


def lost_in_a_kill(status: Status, run: int) -> tuple[int, int]:
    """How many commits were acknowledged until the kill, and how many of them are gone."""
    events = [Event() for _ in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS) as pool:
        writers = [
            pool.submit(write, status, run * WRITERS + number, begun)
            for number, begun in enumerate(events)
        ]
        for begun in events:
            assert begun.wait(SECONDS)
        os.kill(postmaster(status), signal.SIGKILL)
        acknowledged = {pair for writer in writers for pair in writer.result()}
    with reconnect(status) as session:
        found = set(session.execute("SELECT writer, number FROM kept"))
    return len(acknowledged), len(acknowledged - found)


def kill_and_count(status: Status, runs: int) -> list[int]:
    with connect(status) as session:
        session.execute(
            "CREATE TABLE kept (writer int, number int, PRIMARY KEY (writer, number))"
        )
    results = [lost_in_a_kill(status, run) for run in range(runs)]
    assert all(acknowledged > WRITERS * 20 for acknowledged, _ in results)
    return [lost for _, lost in results]


def test_no_acknowledged_commit_is_lost_when_postgresql_is_killed(
    durable: Status,
) -> None:
    assert kill_and_count(durable, 1) == [0]
    assert "WARNING PostgreSQL ended (SIGKILL); starting it again" in log(durable)
    assert eventually(lambda: "WARNING PostgreSQL serves again" in log(durable))
    assert lifecycle.status(durable.root).state == "running"


@pytest.mark.slow
def test_no_acknowledged_commit_is_lost_in_ten_kills_of_postgresql(
    durable: Status,
) -> None:
    assert kill_and_count(durable, 10) == [0] * 10


def as_app(status: Status) -> psycopg.Connection[Any]:
    """A login that the mapping has to allow."""
    return connect(status, user="app", keys=status.runtime["primary"])


def a_backend(status: Status) -> int:
    with Postgres(status.root).connect() as superuser:
        row = superuser.execute(
            "SELECT min(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' "
            "AND pid <> pg_backend_pid()"
        ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("victim", [postmaster, a_backend])
def test_logins_and_jobs_go_on_after_a_process_of_postgresql_was_killed(
    durable: Status, victim: Callable[[Status], int]
) -> None:
    role = f"arn:aws:iam::{ACCOUNT}:role/multi-region-app-primary-runtime"
    with connect(durable) as session:
        session.execute("CREATE TABLE t (a int)")
        session.execute("CREATE ROLE app WITH LOGIN")
        session.execute(f"AWS IAM GRANT app TO '{role}'")
    with as_app(durable) as before:
        os.kill(victim(durable), signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            before.execute("SELECT pg_sleep(60)")
    eventually(lambda: as_app(durable)).close()
    with connect(durable) as session:
        (job,) = session.execute("CREATE INDEX ASYNC i ON t (a)").fetchone() or ("",)
        query = "SELECT status FROM sys.jobs WHERE job_id = %s"
        assert eventually(
            lambda: session.execute(query, [job]).fetchone() == ("completed",)
        )
    assert lifecycle.down(durable.root) is True
    assert not (lifecycle.data_directory(durable) / "data" / "postmaster.pid").exists()


def test_a_login_while_postgresql_is_away_is_refused_as_unavailable(
    durable: Status,
) -> None:
    # What the postmaster needs to start is out of its way until it has failed.
    control = lifecycle.data_directory(durable) / "data" / "global" / "pg_control"
    hidden = control.rename(control.with_name("hidden"))
    os.kill(postmaster(durable), signal.SIGKILL)
    eventually(lambda: "does not start yet" in log(durable))
    with pytest.raises(psycopg.OperationalError, match="server unavailable"):
        connect(durable)
    hidden.rename(control)
    with reconnect(durable) as session:
        assert session.execute("SELECT 1").fetchone() == (1,)


def test_only_a_start_changes_whether_commits_are_durable(tmp_path: Path) -> None:
    try:
        status = lifecycle.up(tmp_path, durable=False)
        with connect(status) as session:
            assert session.execute("SELECT 1").fetchone() == (1,)
        assert lifecycle.up(tmp_path) == status
        with pytest.raises(SandboxError, match=r"manage\.py sandbox down` first"):
            lifecycle.up(tmp_path, durable=True)
    finally:
        lifecycle.reset(tmp_path)
