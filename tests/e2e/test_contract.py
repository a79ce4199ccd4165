"""The contract kept: schemathesis against both Regions, tokens checked."""

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import resolve

from config.api import bearer_tokens, openapi, rate_limits
from config.api.pages import CONTRACT
from config.telemetry import middleware
from ops import contract
from ops.local.issuer import Issuer, serving
from ops.paths import PROJECT
from tests.regions import region_server
from tests.users.test_api import create, send

HERE = Path(__file__).parent
# Per operation and phase; `make contract` sets thousands.
EXAMPLES = os.environ.get("CONTRACT_EXAMPLES", "2")


def test_the_committed_contract_is_what_the_code_says() -> None:
    assert contract.stale() == [], "run manage.py openapi"


def test_every_route_and_method_is_described_with_its_scope() -> None:
    described = {
        (path, method)
        for path, item in contract.document()["paths"].items()
        for method in item
        if method != "parameters"
    }
    for path, method in described:
        view: Any = resolve(
            re.sub(r"{\w+}", "0" * 8 + "-0000-0000-0000-" + "0" * 12, path)
        )
        cls = getattr(view.func, "cls", None)
        known = {"get"} if cls is None else {name.lower() for name in cls.scopes}
        assert method in known
        if cls is not None:
            handlers = {m for m in cls.http_method_names if hasattr(cls, m)}
            assert handlers - {"options"} == known
    assert len(described) == len(contract.collect("OPERATIONS"))


@pytest.mark.django_db
def test_what_answers_carry_is_described(client: Client, settings: Any) -> None:
    settings.API_RATE_LIMIT = 6
    rate_limits.BUCKETS.clear()
    user = create(client)
    one = f"/users/{user['id']}"
    tag = client.get(one)["ETag"]
    asked = [
        ("get", "/users", client.get("/users?limit=1")),
        ("get", "/users/{user_id}", client.get(one, HTTP_IF_NONE_MATCH=tag)),
        ("delete", "/users/{user_id}", client.delete(one, HTTP_IF_NONE_MATCH=tag)),
        ("post", "/users", send(client, "POST", "/users", b"x", content_type="a/b")),
        ("get", "/users/export", client.get("/users/export")),
        ("get", "/", client.get("/")),
        ("get", "/", client.get("/", HTTP_ACCEPT="text/html")),
    ]
    paths = contract.document()["paths"]
    for method, path, answer in asked:
        described = paths[path][method]["responses"][str(answer.status_code)]
        carried = {name for name in openapi.HEADERS if name in answer}
        if answer.status_code < 400 or answer.status_code == 429:
            assert carried <= set(described["headers"])
        else:
            assert carried - set(contract.RATE) <= set(described["headers"])
        if "Content-Type" in answer:
            media = answer["Content-Type"].partition(";")[0]
            assert media in described["content"]
    assert [answer.status_code for *_, answer in asked] == [
        200, 304, 412, 415, 429, 200, 200,
    ]  # fmt: skip


def test_what_a_change_can_meet_is_described() -> None:
    paths = contract.document()["paths"]
    user, users = paths["/users/{user_id}"], paths["/users"]
    for operation in (users["post"], *(user[m] for m in ("put", "patch", "delete"))):
        assert "outcome_unknown" in operation["responses"]["503"]["description"]
    for method in ("get", "put", "patch", "delete"):
        assert openapi.ref("parameters", "If-None-Match") in user[method]["parameters"]


@pytest.mark.django_db
def test_the_contract_is_served_as_committed() -> None:
    answer = Client().get("/openapi.json")
    assert answer.content == CONTRACT.read_bytes()
    assert answer.json()["openapi"].startswith("3.1")
    assert answer["Cache-Control"] == "public, max-age=300"


@contextmanager
def lines() -> Iterator[set[tuple[str, str, int]]]:
    """Route, method and status of every request that is served meanwhile."""
    found = set()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            fields = record.__dict__["fields"]
            found.add((fields["Route"], fields["method"], fields["status"]))

    collector = Collector()
    middleware.logger.addHandler(collector)
    try:
        yield found
    finally:
        middleware.logger.removeHandler(collector)


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.django_db(transaction=True, databases=["default", "secondary"])
@pytest.mark.parametrize("alias", ["default", "secondary"])
def test_schemathesis_finds_nothing(
    alias: str, tmp_path: Path, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    own = Issuer.load(tmp_path / "issuer.pem", port=0)
    with serving(own) as issuer, region_server(alias) as url, lines() as served:
        for name, value in issuer.environ.items():
            setattr(settings, name, value)
        bearer_tokens.keys.cache_clear()
        token = issuer.token(
            subject="tester",
            scopes=["users:read", "users:write", "users:admin"],
            minutes=600,
        )
        report = tmp_path / "report.json"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file"),
                *(str(HERE / "schemathesis.toml"), "run", f"{url}/openapi.json"),
                *("--header", f"Authorization: Bearer {token}"),
                *("--max-examples", EXAMPLES, "--seed", "1", "--no-color"),
                *("--report", "json", "--report-json-path", str(report)),
            ],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(PROJECT),
                "SCHEMATHESIS_HOOKS": "tests.e2e.schemathesis_hooks",
            },
            capture_output=True,
            text=True,
        )
    bearer_tokens.keys.cache_clear()
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert json.loads(report.read_text())
    found = re.search(r"(\d+) generated", done.stdout)
    assert found is not None
    assert int(found[1]) >= 200
    with capsys.disabled():
        sys.stdout.write(f"\n{alias}: {found[0]} requests\n")
    for method, status in (
        ("POST", 201),
        ("PUT", 200),
        ("PATCH", 200),
        ("DELETE", 204),
    ):
        assert any(line[1:] == (method, status) for line in served), method
