"""Lambda's own behaviour, with functions of a few lines."""

import io
import re
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rehearsal import lambda_service
from tests.rehearsal.lambda_service import HOSTS_VARIABLE, Function, FunctionError

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="CPU time is read from /proc"
)
HANDLER = "made.handle"
RESPOND = "def handle(event, context):\n    return {'runs': runs, **event}\n"
# How often the module was imported, in a file that outlives the process.
COUNT = """
import pathlib, time
marks = pathlib.Path({folder!r}) / "marks"
with marks.open("a") as file: file.write("x")
runs = len(marks.read_text())
"""
Make = Callable[..., Function]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """A function of that source, whose init may take a second."""
    made: list[Function] = []
    monkeypatch.setattr(lambda_service, "INIT_SECONDS", 1.0)

    def make(source: str, timeout: float = 20.0, **options: Any) -> Function:
        archive = io.BytesIO()
        variables = options.pop("variables", {})
        with zipfile.ZipFile(archive, "w") as packed:
            text = COUNT.format(folder=str(tmp_path)) + source
            packed.writestr("made.py", text)
        function = Function(archive.getvalue(), HANDLER, variables, timeout, **options)
        made.append(function)
        return function

    yield make
    for function in made:
        function.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch, make: Make) -> None:
    """Init may take what a busy machine needs."""
    monkeypatch.setattr(lambda_service, "INIT_SECONDS", 30.0)


@pytest.mark.usefixtures("patient")
def test_one_init_serves_many_requests(make: Make) -> None:
    function = make(RESPOND)
    assert function.init().status == "ready"
    assert [function.invoke({"n": n})["n"] for n in range(3)] == [0, 1, 2]
    assert function.invoke({})["runs"] == 1
    assert "INIT_REPORT" not in function.log.read_text()


def test_an_init_that_takes_too_long_is_killed_and_repeated_in_the_first_request(
    make: Make, tmp_path: Path
) -> None:
    lines: list[str] = []
    awaited = tmp_path / "awaited"
    source = (
        f"if not pathlib.Path({str(awaited)!r}).exists(): time.sleep(60)\n{RESPOND}"
    )
    function = make(source, log_line=lines.append)
    init = function.init()
    assert init.status == "timeout"
    assert init.seconds > 1.0
    awaited.touch()
    assert function.invoke({"n": 7})["n"] == 7
    (report,) = [line for line in lines if line.startswith("INIT_REPORT")]
    assert re.fullmatch(
        r"INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: init\tStatus: timeout", report
    )
    assert report in function.log.read_text()


@pytest.mark.usefixtures("patient")
def test_an_init_that_fails_is_repeated_in_each_request_until_it_succeeds(
    make: Make,
) -> None:
    function = make(f"if runs < 3: raise SystemExit(1)\n{RESPOND}")
    assert function.init().status == "error"
    with pytest.raises(FunctionError, match="It did not start"):
        function.invoke({})
    assert function.invoke({}) == {"runs": 3}
    log = function.log.read_text()
    assert "Phase: init\tStatus: error" in log
    assert "Phase: invoke\tStatus: error" in log


def test_a_repeated_init_takes_the_time_of_its_request(make: Make) -> None:
    function = make(f"time.sleep(60)\n{RESPOND}", timeout=1.5)
    with pytest.raises(FunctionError, match="It did not start"):
        function.invoke({})
    assert "Phase: invoke\tStatus: timeout" in function.log.read_text()


@pytest.mark.usefixtures("patient")
def test_after_a_request_that_took_too_long_the_next_one_begins_anew(
    make: Make,
) -> None:
    function = make(
        "def handle(event, context):\n"
        "    time.sleep(60 if runs == 1 else 0)\n    return {'runs': runs}\n",
        timeout=10.0,
    )
    function.init()
    function.timeout = 0.5
    with pytest.raises(FunctionError, match=r"Task timed out after 0\.\d\d seconds"):
        function.invoke({})
    function.timeout = 20.0
    assert function.invoke({}) == {"runs": 2}


@pytest.mark.usefixtures("patient")
def test_a_process_that_ends_in_a_request_is_told_and_replaced(make: Make) -> None:
    lines: list[str] = []
    function = make(
        "import os\n"
        "def handle(event, context):\n"
        "    if runs == 1: os.kill(os.getpid(), 9)\n    return {'runs': runs}\n",
        log_line=lines.append,
    )
    with pytest.raises(
        FunctionError, match="Runtime exited with error: signal: killed"
    ):
        function.invoke({})
    assert any("Runtime exited" in line for line in lines)
    assert function.invoke({}) == {"runs": 2}


@pytest.mark.usefixtures("patient")
def test_names_lead_to_the_addresses_that_the_rehearsal_tells(make: Make) -> None:
    source = (
        "import socket\n"
        "def handle(event, context):\n"
        "    return [row[4][0] for row in socket.getaddrinfo(event['name'], 5432,"
        " type=socket.SOCK_STREAM)]\n"
    )
    hosts = '{"x.on.aws": ["127.0.0.11", "127.0.0.12"]}'
    function = make(source, variables={HOSTS_VARIABLE: hosts})
    assert function.invoke({"name": "x.on.aws"}) == ["127.0.0.11", "127.0.0.12"]
    assert function.invoke({"name": "127.0.0.1"}) == ["127.0.0.1"]
