import socket
import threading
from pathlib import Path

import pytest

from ops.local import envfile, processes
from ops.local.processes import Child, CommandFailed, Interrupted, PortTaken
from ops.local.sandbox import lifecycle

SETTINGS = {"DJANGO_SETTINGS_MODULE": "config.settings_ops"}
SECONDS = 60.0


@pytest.fixture
def environ(sandbox: lifecycle.Status) -> dict[str, str]:
    return {**envfile.variables(sandbox), **SETTINGS}


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken) as caught:
            processes.require_free_port("secondary", port)
    assert str(caught.value) == f"Port {port} (secondary) is in use on 127.0.0.1."
    processes.require_free_port("secondary", port)


def test_a_failed_command_shows_its_output(environ: dict[str, str]) -> None:
    said: list[str] = []
    with pytest.raises(CommandFailed, match="its output is above"):
        processes.manage("no_such_command", environ, said.append)
    assert all(line.startswith("[no_such_command] ") for line in said)
    assert "Unknown command" in "\n".join(said)


def test_a_command_under_way_ends_when_the_user_stops(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "manage.py"
    program.write_text("import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
    monkeypatch.setattr(processes, "MANAGE", program)
    stop = threading.Event()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        stop.set()

    with pytest.raises(Interrupted):
        processes.manage("slow", {}, say, stop=stop)
    assert said[0] == "[slow] begun"
    said.clear()
    with pytest.raises(Interrupted):
        processes.manage("slow", {}, say, stop=stop)
    assert said == []  # it did not even begin


def test_a_child_that_ignores_the_interrupt_is_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "manage.py"
    program.write_text(
        "import signal, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "print('Quit the server with prayers.', flush=True)\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setattr(processes, "MANAGE", program)
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.0)
    said: list[str] = []
    child = Child("stubborn", [], {}, said.append)
    assert child.listens.wait(SECONDS)
    processes.end([child])
    assert not child.is_running()
    assert child.returncode == -9
    assert said == ["[stubborn] Quit the server with prayers."]
