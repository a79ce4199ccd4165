"""Servers and the sandbox are killed under a supervisor, which says it and goes on."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.local import envfile, processes, supervisor
from ops.local.processes import RegionServer
from ops.local.sandbox import lifecycle
from ops.local.supervisor import LogTail, NeverServed, SupervisedSandbox
from tests.checkout import free_ports

SETTINGS = {"DJANGO_SETTINGS_MODULE": "config.settings_ops"}
SECONDS = 60.0


class Supervised:
    """``supervisor.serve`` in a thread, and what it has said."""

    def __init__(
        self, servers: list[RegionServer], sandbox: SupervisedSandbox | None
    ) -> None:
        self.said: list[str] = []
        self.announced = threading.Event()
        self.failure: Exception | None = None
        self.stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, args=(servers, sandbox))
        self._thread.start()

    def _serve(
        self, servers: list[RegionServer], sandbox: SupervisedSandbox | None
    ) -> None:
        try:
            supervisor.serve(
                servers, sandbox, self.said.append, self.stop, self.announced.set
            )
        except NeverServed as error:
            self.failure = error

    def await_line(self, text: str) -> None:
        await_that(lambda: any(text in line for line in self.said), str(self.said))

    def end(self) -> None:
        self.stop.set()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()


def await_that(condition: Callable[[], bool], otherwise: str = "") -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


@pytest.fixture
def own_pids(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """The processes of each role, in the order in which they were started."""
    pids: dict[str, list[int]] = {"primary": [], "secondary": []}
    start = processes.start

    def noting(server: RegionServer, say: processes.Say) -> processes.Child:
        child = start(server, say)
        pids[server.role].append(child.pid)
        return child

    monkeypatch.setattr(processes, "start", noting)
    return pids


@pytest.fixture
def servers(sandbox: lifecycle.Status) -> list[RegionServer]:
    return [
        RegionServer(
            region.role,
            region.region,
            port,
            {
                **envfile.variables(sandbox),
                **sandbox.environ(region.role),
                **SETTINGS,
            },
        )
        for region, port in zip(sandbox.regions, free_ports(2), strict=True)
    ]


def is_free(server: RegionServer) -> bool:
    try:
        processes.require_free_port(server.role, server.port)
    except processes.PortTaken:
        return False
    return True


def test_a_server_that_is_lost_is_started_again_while_the_other_serves_on(
    servers: list[RegionServer], own_pids: dict[str, list[int]]
) -> None:
    supervised = Supervised(servers, None)
    try:
        assert supervised.announced.wait(SECONDS), supervised.said
        os.kill(own_pids["primary"][0], signal.SIGKILL)
        supervised.await_line("The primary server ended (SIGKILL); it is started again")
        supervised.await_line("The primary server serves again.")
        assert len(own_pids["primary"]) == 2
        assert len(own_pids["secondary"]) == 1
        os.kill(own_pids["secondary"][0], 0)  # it lives
    finally:
        supervised.end()
    assert all(is_free(server) for server in servers)


def test_a_server_that_has_never_served_ends_the_run_with_the_reason(
    servers: list[RegionServer],
) -> None:
    primary, secondary = servers
    refused = {**secondary.environ, "DSQL_USER": "nobody"}
    broken = RegionServer("secondary", secondary.region, secondary.port, refused)
    supervised = Supervised([primary, broken], None)
    await_that(lambda: supervised.failure is not None)
    supervised.end()
    assert str(supervised.failure) == (
        "The secondary server did not start (exit code 1); its output is above."
    )
    assert not supervised.announced.is_set()
    assert all(is_free(server) for server in servers)


@pytest.fixture
def own_sandbox(tmp_path: Path) -> Iterator[lifecycle.Status]:
    try:
        yield lifecycle.up(tmp_path, durable=False)
    finally:
        lifecycle.reset(tmp_path)


def await_said(kept: SupervisedSandbox, line: str, said: list[str]) -> None:
    def has_said() -> bool:
        kept.check()
        return line in said

    await_that(has_said, str(said))


def test_a_sandbox_that_is_killed_is_started_again_where_it_was(
    own_sandbox: lifecycle.Status,
) -> None:
    said: list[str] = []
    kept = SupervisedSandbox(own_sandbox.root, "app", said.append)
    kept.check()
    assert said == []
    os.kill(int((own_sandbox.root / "pid").read_text()), signal.SIGKILL)
    await_said(kept, "The sandbox runs again.", said)
    assert said[0].startswith("The sandbox ended; it is started again in ")
    assert lifecycle.status(own_sandbox.root) == own_sandbox


def test_the_death_of_postgresql_is_said_and_so_is_its_return(
    own_sandbox: lifecycle.Status,
) -> None:
    said: list[str] = []
    kept = SupervisedSandbox(own_sandbox.root, "app", said.append)
    pid = (
        (lifecycle.data_directory(own_sandbox) / "data" / "postmaster.pid")
        .read_text()
        .split()[0]
    )
    os.kill(int(pid), signal.SIGKILL)
    again = "[sandbox] PostgreSQL serves again"
    await_said(kept, again, said)
    assert "[sandbox] PostgreSQL ended (SIGKILL); starting it again" in said


def test_only_lines_of_weight_are_passed_on_from_the_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("2026-01-01 00:00:00,1 ERROR before\n")
    tail = LogTail(path)
    assert tail.warnings() == []
    with path.open("a") as log:
        log.write("2026-01-01 00:00:00,1 INFO small talk\nmore of it\n")
        log.write("2026-01-01 00:00:00,1 WARNING a loss\nwith details\n")
        log.write("2026-01-01 00:00:00,1 ERROR half a li")
        log.flush()
        assert tail.warnings() == ["a loss", "with details"]
        log.write("ne\n")
        log.flush()
        assert tail.warnings() == ["half a line"]
    path.write_text("2026-01-01 00:00:00,1 ERROR anew\n")
    tail.rewind()
    assert tail.warnings() == ["anew"]
    path.unlink()
    assert tail.warnings() == []
