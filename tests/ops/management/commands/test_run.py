import errno
import io
import socket
import threading

import pytest
from django.core.management.base import CommandError

from ops.local.processes import PortTaken
from ops.local.run_lock import AlreadyRunning
from ops.management.commands.run import (
    Command,
    describe_other,
    require_free_ports,
    select_served,
)
from tests.checkout import free_ports


def test_a_taken_port_is_named_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken) as caught:
            require_free_ports({"primary": port, "secondary": port + 1})
        with pytest.raises(PortTaken, match=r"Stop what listens there\.$"):
            require_free_ports({"primary": port + 1, "issuer": port})
        other = describe_other(AlreadyRunning("It runs."), {"primary": port})
    named = f"Port {port} (primary) is in use on 127.0.0.1."
    assert str(caught.value) == (
        f"{named} Stop what listens there, or choose others: "
        f"manage.py run --ports {port + 10} {port + 11}"
    )
    assert other == f"{named} It runs."


def test_another_run_is_named_though_the_ports_are_free() -> None:
    (port,) = free_ports(1)
    other = describe_other(AlreadyRunning("It runs."), {"primary": port})
    assert other == "It runs. Both would use the same sandbox."


def test_a_port_cannot_be_given_twice() -> None:
    with pytest.raises(PortTaken) as caught:
        require_free_ports({"primary": 8002, "secondary": 8001, "issuer": 8002})
    assert str(caught.value) == (
        "Each needs a port of its own: primary 8002, secondary 8001, issuer 8002."
    )


class Broken(io.StringIO):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def flush(self) -> None:
        raise OSError(self.number, "cannot be written")


@pytest.mark.parametrize(
    ("number", "stops"),
    [
        (errno.ENOSPC, False),
        (errno.EDQUOT, False),
        (errno.EPIPE, True),
        (errno.EIO, True),
    ],
)
def test_a_full_disk_ends_no_server_and_a_closed_terminal_ends_all(
    number: int, stops: bool
) -> None:
    command = Command(stdout=Broken(number))
    command._stop = threading.Event()
    command._say("a line")
    assert command._stop.is_set() is stops


def test_every_region_that_without_names_is_left_out_and_one_has_to_serve() -> None:
    parser = Command().create_parser("manage.py", "run")
    one = parser.parse_args(["--without", "primary", "--without", "primary"])
    assert select_served((8000, 8001), one.without) == {"secondary": 8001}
    assert select_served((8000, 8001), parser.parse_args([]).without) == {
        "primary": 8000,
        "secondary": 8001,
    }
    both = parser.parse_args(["--without", "secondary", "--without", "primary"])
    with pytest.raises(CommandError, match="names both Regions"):
        select_served((8000, 8001), both.without)
