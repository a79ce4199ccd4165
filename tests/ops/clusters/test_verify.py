"""The checks of the control plane and of the served API; the others need a database."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from ops.clusters.verify import CONTROL
from tests.control import EAST, OHIO, World
from tests.ops.clusters.commands import destroy, provision


def failures(
    *arguments: str, only: str = ",".join(CONTROL)
) -> dict[tuple[str, str], str]:
    """The reasons of the failed checks by Region and name."""
    out = io.StringIO()
    options = ("--only", only, "--format", "json", *arguments)
    with suppress(SystemExit):
        call_command("dsql_verify", *options, stdout=out, stderr=io.StringIO())
    checks = json.loads(out.getvalue())["checks"]
    return {
        (c["target"], c["name"]): c["reason"] for c in checks if c["outcome"] == "fail"
    }


def test_a_whole_pair_passes(world: World) -> None:
    provision()
    assert failures() == {}


def test_a_single_region_passes_as_such_only(world: World) -> None:
    provision("--single-region")
    assert failures("--single-region") == {}
    assert failures()[EAST, "witness"] == "The witness Region is none, not us-west-2."


def test_nothing_at_all_is_told_for_each_region(world: World) -> None:
    text = "No cluster has our tags."
    assert failures() == {(EAST, "status"): text, (OHIO, "status"): text}


def test_a_wrong_witness(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    provision()
    monkeypatch.setenv("WITNESS_REGION", "ca-central-1")
    text = "The witness Region is us-west-2, not ca-central-1."
    assert failures() == {(EAST, "witness"): text, (OHIO, "witness"): text}


def test_a_half_peered_pair(world: World) -> None:
    provision()
    first = next(c for c in world.clusters if c.region == EAST)
    first.peers = []
    world.control.fleet.link(world.now)
    found = failures()
    assert found[EAST, "peering"].startswith(
        "The peers are none, not arn:aws:dsql:us-east-2"
    )
    assert found[EAST, "status"].endswith("is PENDING_SETUP.")
    assert (OHIO, "peering") not in found


def test_a_failed_member(world: World) -> None:
    provision()
    next(c for c in world.clusters if c.region == OHIO).failed = True
    ((where, reason),) = failures().items()
    assert where == (OHIO, "status")
    assert "is FAILED: AWS gives no reason" in reason


def test_missing_protection_and_tags(world: World) -> None:
    provision()
    first, second = world.clusters
    first.protected = False
    second.tags["Role"] = "tertiary"
    assert failures() == {
        (first.region, "protection"): "Deletion protection is off.",
        (second.region, "tags"): (
            f"Role is 'tertiary', not '{'primary' if second.region == EAST else 'secondary'}'."
        ),
    }


def test_an_account_that_cannot_be_read_is_one_error(world: World) -> None:
    provision()
    world.fault("api-denied", "ListClusters")
    with pytest.raises(CommandError, match="Allow dsql:ListClusters"):
        call_command("dsql_verify")
    destroy()


class Api(BaseHTTPRequestHandler):
    """A users API of one Region; ``server.wrong`` says what it does wrong."""

    server: Any

    def log_message(self, *_: Any) -> None:
        """Nothing to say."""

    def _answer(self, status: int, body: Any = None) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        if self.path == "/prod/health":
            well = self.server.wrong != "unwell"
            self._answer(
                200 if well else 503, {"database": "ok" if well else "unreachable"}
            )
        else:
            user = self.server.users.get(self.path.rpartition("/")[2])
            seen = user is not None and self.server.wrong != "stale"
            self._answer(200 if seen else 404, user if seen else {"code": "not_found"})

    def do_POST(self) -> None:
        if self.headers["Authorization"] != "Bearer t0ken":
            self._answer(401, {"code": "not_authenticated"})
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        user = {**body, "id": str(len(self.server.users))}
        self.server.users[user["id"]] = user
        self._answer(201, user)

    def do_DELETE(self) -> None:
        del self.server.users[self.path.rpartition("/")[2]]
        self._answer(204)


@pytest.fixture
def apis() -> Iterator[list[Any]]:
    """Both Regions' APIs over one table."""
    users: dict[str, Any] = {}
    servers: list[Any] = [HTTPServer(("127.0.0.1", 0), Api) for _ in range(2)]
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for server, thread in zip(servers, threads, strict=True):
        server.users, server.wrong = users, ""
        thread.start()
    yield servers
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        thread.join()
        server.server_close()
    assert users == {}


def api_failures(apis: list[Any], bearer: str = "t0ken") -> dict[tuple[str, str], str]:
    urls = [
        f"--api-url={role}=http://127.0.0.1:{server.server_port}/prod"
        for role, server in zip(("primary", "secondary"), apis, strict=True)
    ]
    return failures(*urls, f"--api-token={bearer}", only="health,api-replication")


def test_two_well_apis_pass(world: World, apis: list[Any]) -> None:
    assert api_failures(apis) == {}


def test_an_unwell_api_is_named(world: World, apis: list[Any]) -> None:
    apis[1].wrong = "unwell"
    ((where, reason),) = api_failures(apis).items()
    assert where == (OHIO, "health")
    assert 'responds 503: {"database": "unreachable"}' in reason


def test_a_user_that_the_other_region_lacks_is_named(
    world: World, apis: list[Any]
) -> None:
    apis[1].wrong = "stale"
    ((where, reason),) = api_failures(apis).items()
    assert where == ("both", "api-replication")
    assert "responds 404 right after the POST in the other Region" in reason


def test_a_refused_token_is_named(world: World, apis: list[Any]) -> None:
    ((where, reason),) = api_failures(apis, bearer="wrong").items()
    assert where == ("both", "api-replication")
    assert "responds 401" in reason


def test_an_api_that_asks_for_a_token_is_no_failure_without_one(
    world: World, apis: list[Any]
) -> None:
    urls = [
        f"--api-url={role}=http://127.0.0.1:{server.server_port}/prod"
        for role, server in zip(("primary", "secondary"), apis, strict=True)
    ]
    out = io.StringIO()
    call_command(
        "dsql_verify",
        *urls,
        "--api-token=",
        only=frozenset({"api-replication"}),
        stdout=out,
    )
    assert "skip  both           api-replication" in out.getvalue()
    assert "The API requires a token: set API_TOKEN" in out.getvalue()


def test_an_unreachable_api_is_named(world: World, apis: list[Any]) -> None:
    found = failures("--api-url=primary=http://127.0.0.1:1/prod", only="health")
    assert "GET http://127.0.0.1:1/prod/health: " in found[EAST, "health"]
