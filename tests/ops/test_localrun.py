import signal
import socket
from collections.abc import Iterator

import pytest

from ops import localrun
from ops.localrun import CommandFailed, PortTaken, RegionServer
from ops.sandbox import envfile, lifecycle
from tests.checkout import free_ports

SETTINGS = {"DJANGO_SETTINGS_MODULE": "config.settings_ops"}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def environ(sandbox: lifecycle.Status) -> dict[str, str]:
    return {**envfile.variables(sandbox), **SETTINGS}


@pytest.fixture
def unreachable(environ: dict[str, str]) -> dict[str, str]:
    return {**environ, "PGPORT": str(free_ports(1)[0])}


@pytest.fixture
def own_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_taken_port_is_named_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken) as caught:
            localrun.require_free_port(RegionServer("secondary", "", port, {}))
    assert str(caught.value) == (
        f"Port {port} (secondary) is in use on 127.0.0.1. Stop what listens there, or "
        f"choose others: manage.py run --ports {port + 10} {port + 11}"
    )
    localrun.require_free_port(RegionServer("secondary", "", port, {}))


def test_a_failed_command_shows_its_output(unreachable: dict[str, str]) -> None:
    said: list[str] = []
    with pytest.raises(CommandFailed, match="its output is above"):
        localrun.manage("migrate", unreachable, said.append)
    assert all(line.startswith("[migrate] ") for line in said)
    assert "onnection refused" in "\n".join(said)


@pytest.mark.usefixtures("own_signals")
def test_one_server_that_ends_stops_the_other(
    environ: dict[str, str], unreachable: dict[str, str]
) -> None:
    first, second = free_ports(2)
    said: list[str] = []
    code = localrun.serve(
        [
            RegionServer("primary", "us-east-1", first, environ),
            RegionServer("secondary", "us-east-2", second, unreachable),
        ],
        said.append,
    )
    assert code == 1
    assert "The secondary server ended; stopping the other." in said
    for port in (first, second):
        localrun.require_free_port(RegionServer("", "", port, {}))
