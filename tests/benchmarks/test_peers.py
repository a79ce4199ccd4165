"""The peers that need no further package do the same as the API, before any is measured."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection

from ops.local.sandbox.lifecycle import Status
from ops.paths import PROJECT
from ops.sample_users import sample_lines
from tests.benchmarks import frameworks
from tests.benchmarks.peers import packages, tls
from tests.benchmarks.peers.events import CELLS, Event, build_event, build_events
from tests.benchmarks.peers.function import (
    Function,
    Installed,
    Invocation,
    PeerFailed,
    Variant,
    running,
)
from tests.benchmarks.peers.verify import verify
from users.services import users_import

# The checkout in place of an unpacked package, with what is installed here.
SITE = Path(psycopg.__file__).parents[1]
HANDLERS = {recipe.name: recipe.handler for recipe in packages.RECIPES}
USER = {
    "id": "0b0f6c9e-0000-4000-8000-000000000001", "name": "Ada", "email": "a@example.com",
    "created_at": "2026-01-01T00:00:00.000001Z", "updated_at": "2026-01-01T00:00:00Z",
}  # fmt: skip


@pytest.fixture
def loaded(sandbox: Status, transactional_db: None) -> Iterator[Status]:
    list(users_import(sample_lines(frameworks.USERS)))
    yield sandbox
    connection.close()


def build_variant(status: Status, name: str) -> Variant:
    if name == packages.OURS:
        settings = json.loads((PROJECT / "zappa_settings.json").read_text())
        handler = settings["primary"]["lambda_handler"]
        environ = frameworks.build_own_environ(status)
    else:
        handler, environ = HANDLERS[name], frameworks.build_peer_environ(status)
    schema = connection.settings_dict["NAME"].rpartition(".")[2]  # of the tests
    options = {"PGOPTIONS": f"-c search_path={schema}"}
    peer = Installed(name, PROJECT, handler, SITE, 0)
    return Variant(name, peer, environ | options)


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["floor", packages.OURS, "DRF by hand"])
def test_does_the_same_in_one_round_trip_for_each_request(
    loaded: Status, name: str
) -> None:
    trips = frameworks.check(loaded, build_variant(loaded, name))
    assert trips == {cell: int(cell != "health") for cell in CELLS}


@pytest.mark.e2e
def test_postgresql_itself_is_reached_over_tls_only(sandbox: Status) -> None:
    with tls.serving(sandbox) as direct:
        login = f"host={direct.regions[0].endpoint} port={direct.port} dbname=postgres"
        with psycopg.connect(f"{login} user=admin sslmode=verify-full") as connected:
            connected.execute("LISTEN anything")  # the sandbox refuses it, as DSQL does
        with pytest.raises(psycopg.OperationalError, match="closed the connection"):
            psycopg.connect(f"{login} user=admin sslmode=disable")


@pytest.mark.e2e
def test_a_function_reports_what_its_handler_raised(loaded: Status) -> None:
    with running(build_variant(loaded, "floor")) as function:
        with pytest.raises(PeerFailed, match="KeyError: 'httpMethod'"):
            function.invoke([{"headers": {}, "multiValueHeaders": {}}])
        with pytest.raises(PeerFailed, match="floor ended without a word"):
            function.invoke([])


class FixedFunction(Function):
    """Gives one user and one status to whatever comes."""

    def __init__(self, status: int, shown: dict[str, Any]) -> None:
        self.name, self.headers = "fixed", {}
        self._invocation = Invocation(0, [status], {"body": json.dumps(shown)}, 0, 0)

    def invoke(self, events: Sequence[Event]) -> Invocation:
        return self._invocation


@pytest.mark.parametrize(
    ("status", "shown", "message"),
    [
        (500, USER, "GET /health/live gave 500, not 200"),
        (200, {**USER, "name": "Eve"}, "fixed: name is Eve, not Ada"),
        (200, {**USER, "created_at": "2026-01-02T00:00:00Z"}, "created_at is"),
        (200, USER, "gave 200, not 404"),
    ],
)
def test_a_peer_that_does_otherwise_is_refused(
    status: int, shown: dict[str, Any], message: str
) -> None:
    with pytest.raises(PeerFailed, match=message):
        verify(FixedFunction(status, shown), [USER] * 100)


def test_every_recipe_is_locked() -> None:
    lock = packages.parse_lock(packages.LOCK.read_text())
    roots = {root for recipe in packages.RECIPES for root in recipe.roots}
    assert {root.partition("[")[0] for root in roots} <= set(lock)
    assert all("--hash=" in lock[root.partition("[")[0]] for root in roots)


def test_a_package_holds_what_its_roots_need_and_nothing_else() -> None:
    assert packages.find_needed(["psycopg[binary]"]) >= {"psycopg", "psycopg-binary"}
    assert "psycopg-binary" not in packages.find_needed(["psycopg"])
    assert "django" not in packages.find_needed(["psycopg[binary]"])
    with pytest.raises(PeerFailed, match="no-such-thing is not installed"):
        packages.find_needed(["no-such-thing"])


def test_an_event_repeats_its_headers_and_query_as_api_gateway_does() -> None:
    event = build_event("GET", "/users", {"limit": "50"}, headers={"X-Extra": "1"})
    assert event["headers"]["X-Extra"] == "1"
    assert event["multiValueHeaders"]["X-Extra"] == ["1"]
    assert event["multiValueQueryStringParameters"] == {"limit": ["50"]}
    assert event["pathParameters"] == {"proxy": "users"}


def test_no_two_creations_share_an_address_or_a_key() -> None:
    events = build_events("keyed POST", "", 50)
    assert len({event["body"] for event in events}) == 50
    assert len({event["headers"]["Idempotency-Key"] for event in events}) == 50


def test_another_peer_begins_each_round() -> None:
    assert frameworks.rotate([1, 2, 3], 0) == [1, 2, 3]
    assert frameworks.rotate([1, 2, 3], 4) == [2, 3, 1]


@pytest.mark.slow
@pytest.mark.e2e
def test_every_peer_does_the_same_and_is_measured(tmp_path: Path) -> None:
    image, clean = tmp_path / "image.svg", {"PATH", "HOME", "LANG"}
    measured = subprocess.run(
        [
            *("make", "bench"),
            f"BENCH=frameworks features --quick --plot {image}",
        ],
        cwd=PROJECT,
        env={name: value for name, value in os.environ.items() if name in clean},
        capture_output=True,
        text=True,
        check=False,
    )
    assert measured.returncode == 0, measured.stderr
    for name in (*HANDLERS, packages.OURS):
        assert f"PATCH: {name}" in measured.stdout
        assert name in image.read_text()
