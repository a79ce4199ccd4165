"""The development issuer's tokens are taken by the path of every other issuer's."""

import socket
import stat
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from config.api import bearer_tokens
from config.api.fetching import read_json
from ops.local.issuer import Issuer, serving
from ops.management.commands import api_token


@pytest.fixture
def issuer(tmp_path: Path, settings: Any) -> Issuer:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    made = Issuer.load(tmp_path / "new" / "issuer.pem", port)
    for name, value in made.environ.items():
        setattr(settings, name, value)
    bearer_tokens.keys.cache_clear()
    return made


@pytest.mark.django_db
def test_the_api_reads_its_keys_and_takes_its_tokens(
    issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "issuer.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    monkeypatch.setattr(api_token, "ISSUER_KEY", path)
    out = StringIO()
    call_command(
        "api_token", "--scope", "users:read", f"--port={issuer.port}", stdout=out
    )
    bearer = {"authorization": f"Bearer {out.getvalue().strip()}"}
    with serving(issuer):
        assert Client().get("/users", headers=bearer).status_code == 200
        assert Client().post("/users", headers=bearer).status_code == 403
    bearer_tokens.keys.cache_clear()


def test_without_the_issuer_there_are_no_keys(issuer: Issuer) -> None:
    token = issuer.token(subject="ada", scopes=[], minutes=1)
    with pytest.raises(bearer_tokens.NoKeys):
        bearer_tokens.verify(token)
    bearer_tokens.keys.cache_clear()


def test_metadata_of_another_issuer_is_refused(
    issuer: Issuer, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OIDC_ISSUER = f"http://localhost:{issuer.port}"
    with serving(issuer), pytest.raises(ValueError, match="another issuer"):
        bearer_tokens.read_keys()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", ""])
def test_keys_come_over_http_only(url: str) -> None:
    with pytest.raises(ValueError, match="not an HTTP URL"):
        read_json(url)
