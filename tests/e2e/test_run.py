"""A newcomer's first minutes: two Regions on this machine, proved, stopped, killed."""

import json
import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ops.topology import ROLES
from tests.checkout import Checkout, Running, free_ports

pytestmark = pytest.mark.e2e
WATCHING = "Quit the server with CONTROL-C."


def call(port: int, path: str, body: dict[str, str] | None = None) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - loopback
        return json.load(answer)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def state(checkout: Checkout) -> str:
    found = checkout.manage("sandbox", "status", "--format", "json")
    return str(json.loads(found.stdout)["state"])


def run(checkout: Checkout, ports: list[int]) -> Running:
    running = checkout.start("run", "--ports", *map(str, ports))
    running.await_output("Ctrl-C stops everything.")
    running.await_output(WATCHING, times=2)
    return running


def verify_the_promise(checkout: Checkout, ports: list[int]) -> None:
    proof = checkout.manage("dsql_verify", "--rounds", "5", "--format", "json")
    assert proof.returncode == 0, proof.stderr
    report = json.loads(proof.stdout)
    outcomes = {check["name"]: check["outcome"] for check in report["checks"]}
    assert report["ok"] is True
    assert {outcomes[name] for name in ("rights", "mapping", "conflict")} == {"pass"}
    (found,) = (c["reason"] for c in report["checks"] if c["name"] == "replication")
    assert found.startswith("10 writes, each read in the other Region at once: 0 stale")
    urls = [
        f"{role}=http://127.0.0.1:{port}"
        for role, port in zip(ROLES, ports, strict=True)
    ]
    text = checkout.manage("dsql_verify", *(f"--api-url={url}" for url in urls))
    assert text.returncode == 0, text.stdout
    folder = checkout.root / ".sandbox"
    assert text.stdout.splitlines()[0] == f"Target: the sandbox in {folder}"
    assert "POST in each Region, GET in the other: found at once" in text.stdout
    again = checkout.manage("dsql_provision")
    assert "Nothing to change: the clusters are as configured." in again.stdout


def refuse_a_second_run(checkout: Checkout, ports: list[int], pid: int) -> None:
    taken = checkout.manage("run", "--ports", *map(str, ports))
    assert taken.returncode == 1
    running = f"manage.py run is already running (process {pid})"
    assert (
        f"Port {ports[0]} (primary) is in use on 127.0.0.1. {running}" in taken.stderr
    )
    elsewhere = checkout.manage("run", "--ports", *map(str, free_ports(2)))
    assert elsewhere.returncode == 1
    assert running in elsewhere.stderr
    for action in (["down"], ["reset", "--yes"]):
        refused = checkout.manage("sandbox", *action)
        assert refused.returncode == 1
        assert running in refused.stderr
    assert state(checkout) == "running"


def test_a_fresh_clone_serves_both_regions_and_recovers_from_a_kill(
    checkout: Checkout,
) -> None:
    ports = free_ports(2)
    first = run(checkout, ports)
    user = call(ports[0], "/users", {"name": "Ada", "email": "ada@example.com"})
    assert user.pop("region") == "us-east-1"
    assert call(ports[1], f"/users/{user['id']}") == user
    grace = call(ports[1], "/users", {"name": "Grace", "email": "grace@example.com"})
    assert grace.pop("region") == "us-east-2"
    assert call(ports[0], f"/users/{grace['id']}") == grace

    verify_the_promise(checkout, ports)
    refuse_a_second_run(checkout, ports, first.process.pid)

    assert first.stop(signal.SIGINT) == 0
    assert "[primary us-east-1]" in first.output
    assert "[secondary us-east-2]" in first.output
    assert "Traceback" not in first.output
    assert first.lines[-1] == "Stopped the sandbox; its data stay."
    assert state(checkout) == "stopped"
    assert [listens(port) for port in ports] == [False, False]

    second = run(checkout, ports)
    second.stop(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while any(listens(port) for port in ports):
        assert time.monotonic() < deadline, "a killed run's servers go on"
        time.sleep(0.05)
    third = run(checkout, ports)
    users = call(ports[1], "/users")
    assert [found["id"] for found in users["users"]] == [grace["id"], user["id"]]
    assert third.stop(signal.SIGTERM) == 0
    assert third.lines[-1] == "Stopped the sandbox; its data stay."
    assert state(checkout) == "stopped"
    assert [listens(port) for port in ports] == [False, False]


def test_one_region_serves_without_the_other_and_through_the_death_of_postgresql(
    checkout: Checkout,
) -> None:
    ports = free_ports(2)
    running = checkout.start(
        "run", "--without", "primary", "--ports", *map(str, ports), in_background=True
    )
    running.await_output("Ctrl-C stops everything.")
    assert "Only one Region serves" in running.output
    assert [listens(port) for port in ports] == [False, True]
    user = call(ports[1], "/users", {"name": "Ada", "email": "ada@example.com"})
    assert user.pop("region") == "us-east-2"

    found = json.loads(checkout.manage("sandbox", "status", "--format", "json").stdout)
    pidfile = Path(found["data"]) / "data" / "postmaster.pid"
    os.kill(int(pidfile.read_text().split()[0]), signal.SIGKILL)
    running.await_output("[sandbox] PostgreSQL ended (SIGKILL); starting it again")
    running.await_output("[sandbox] PostgreSQL serves again")
    assert call(ports[1], f"/users/{user['id']}") == user
    assert running.stop(signal.SIGINT) == 0
    assert state(checkout) == "stopped"
    assert [listens(port) for port in ports] == [False, False]


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_stopped_while_it_starts_leaves_nothing(
    checkout: Checkout, number: signal.Signals
) -> None:
    running = checkout.start("run", "--ports", *map(str, free_ports(2)))
    running.await_output("Starting the sandbox in")
    assert running.stop(number) == 0
    assert "Traceback" not in running.output
    assert running.lines[-1] == "Stopped the sandbox; its data stay."
    assert state(checkout) == "stopped"


def test_runserver_alone_brings_the_sandbox_and_serves_one_region(
    checkout: Checkout,
) -> None:
    (port,) = free_ports(1)
    running = checkout.start(
        "runserver", "--noreload", f"127.0.0.1:{port}", in_background=True
    )
    running.await_output(WATCHING)
    assert running.lines[0] == "No DSQL_ENDPOINT is set: the sandbox is the target."
    assert "Serving Region us-east-1 with " in running.output
    assert call(port, "/health")["schema"] == "current"
    assert call(port, "/")["region"] == "us-east-1"
    # A second terminal, where the shell's own variables name production and a proxy.
    with recorded() as (url, requests):
        proof = checkout.manage(
            "dsql_verify", "--only", "status,login", **elsewhere(url)
        )
    assert proof.stdout.startswith(f"Target: the sandbox in {checkout.root}/.sandbox")
    assert proof.returncode == 0, proof.stdout + proof.stderr
    assert requests == []
    assert "TARGET=sandbox" in (checkout.root / ".env").read_text()
    assert running.stop(signal.SIGINT) == 0
    assert not listens(port)


def test_nothing_on_aws_is_signed_with_the_sandboxs_key(
    checkout: Checkout, tmp_path: Path
) -> None:
    assert checkout.manage("sandbox", "up").returncode == 0
    printed = checkout.manage("sandbox", "env").stdout.splitlines()
    exported = dict(line.split("=", 1) for line in printed)
    credentials = tmp_path / "credentials"
    credentials.write_text(
        "[default]\naws_access_key_id = AKIAMINE\naws_secret_access_key = mine\n"
    )
    with recorded() as (url, requests):
        checkout.manage(
            "dsql_status",
            "--target=aws",
            **exported,
            AWS_SHARED_CREDENTIALS_FILE=str(credentials),
            # What the rehearsal says, so that the requests can be seen.
            TARGET_KEEPS_ENDPOINT_URLS="1",
            AWS_ENDPOINT_URL=url,
            AWS_MAX_ATTEMPTS="1",
        )
    assert requests, "nothing was asked"
    assert all("Credential=AKIAMINE/" in signature for signature in requests)


@contextmanager
def recorded() -> Iterator[tuple[str, list[str]]]:
    """A server, or a proxy, that refuses each request and keeps how it was signed."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def refuse(self) -> None:
            requests.append(self.headers.get("Authorization", ""))
            self.send_error(403)

        do_GET = do_POST = do_CONNECT = refuse  # noqa: N815 - http.server's names

        def log_message(self, *_: Any) -> None:
            """The test's own output stays readable."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()


def elsewhere(url: str) -> dict[str, str]:
    """The variables of a shell that is set up for production, with a proxy that tells."""
    keys = {"AWS_ACCESS_KEY_ID": "AKIAMINE", "AWS_SECRET_ACCESS_KEY": "mine"}
    proxies = dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), url
    )
    return {**keys, **proxies, "AWS_PROFILE": "production"}


def test_without_a_target_a_command_says_how_to_get_one(checkout: Checkout) -> None:
    for command in (["migrate"], ["dbshell"]):
        done = checkout.manage(*command)
        assert done.returncode == 1, command
        (line,) = done.stderr.strip().splitlines()
        assert "--target aws" in line
        assert "`make run`" in line
        assert "`manage.py sandbox up`" in line


def test_a_supervised_server_starts_no_sandbox_of_its_own(checkout: Checkout) -> None:
    done = checkout.manage("runserver", "--noreload", "--until-eof")
    assert done.returncode == 1
    assert done.stderr.strip() == "CommandError: The sandbox does not run."
    assert state(checkout) == "absent"


def test_without_credentials_a_cluster_command_says_how_to_get_some(
    checkout: Checkout,
) -> None:
    files = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
    nowhere = {name: str(checkout.root / "none") for name in files}
    for command in ("dsql_provision", "dsql_verify", "dsql_status", "dsql_destroy"):
        done = checkout.manage(
            command, AWS_EC2_METADATA_DISABLED="true", TARGET="aws", **nowhere
        )
        assert done.returncode == 1, command
        (line,) = done.stderr.strip().splitlines()
        assert "AWS_PROFILE" in line
        assert "`manage.py sandbox up`" in line
