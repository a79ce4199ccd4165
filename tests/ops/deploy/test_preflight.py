"""A broken choice is found with the variables that the functions would get."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.migrations.loader import MigrationLoader

from ops.deploy import settings
from ops.deploy.options import Options
from ops.deploy.preflight import (
    CheckFailed,
    refusal,
    require_sound,
    unapplied_migrations,
)
from ops.sandbox_status import Status
from ops.topology import Topology
from tests.rehearsal.certificates import Certificates
from tests.rehearsal.issuer import HttpsIssuer, ServedIssuer

TOPOLOGY = Topology.from_environment({})
OIDC = {
    "API_AUTH": "oidc", "OIDC_ISSUER": "https://issuer.example", "OIDC_AUDIENCE": "api",
}  # fmt: skip


def check(env: dict[str, str]) -> None:
    options = Options.from_environment(env)
    require_sound("us-east-1", settings.preview_variables(TOPOLOGY, options, "primary"))


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        check(
            {
                "API_AUTH": "oidc",
                "OIDC_ISSUER": "http://issuer.example",
                "OIDC_AUDIENCE": " ",
                "OIDC_JWKS_URL": "https://",
                "CORS_ALLOWED_ORIGINS": "app.example",
            }
        )
    for finding in (
        "OIDC_AUDIENCE is not set",
        "OIDC_ISSUER is 'http://issuer.example'. Use https://",
        "OIDC_JWKS_URL is 'https://'. Use https://",
        "'app.example' in CORS_ALLOWED_ORIGINS",
    ):
        assert finding in str(refused.value)


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"API_AUTH": "oidc"}, "OIDC_ISSUER is not set.*\n.*OIDC_AUDIENCE is not set"),
        ({"API_AUTH": "oicd"}, "API_AUTH is 'oicd'; set it to one of oidc, none"),
        ({**OIDC, "OIDC_ISSUER": "https://i.example?x=1"}, "a query nor a fragment"),
        ({**OIDC, "OIDC_ALGORITHMS": "HS256"}, "OIDC_ALGORITHMS has HS256"),
        ({**OIDC, "API_RATE_LIMIT": "ten"}, "API_RATE_LIMIT is 'ten'"),
    ],
)
def test_what_the_functions_could_not_serve_with_is_refused(
    env: dict[str, str], says: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=says):
        check(env)


@pytest.mark.parametrize("env", [OIDC, {"API_AUTH": "none"}])
def test_a_choice_that_was_made_is_accepted_whatever_the_operators_shell_holds(
    monkeypatch: pytest.MonkeyPatch, env: dict[str, str]
) -> None:
    """Letting everyone in is an error of the checks, and the operator has named it."""
    monkeypatch.setenv("DJANGO_DEBUG", "1")
    monkeypatch.setenv("API_AUTH", "of the shell")
    check(env)


@pytest.fixture
def issuer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedIssuer]:
    certificates = Certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
    served = ServedIssuer(certificates, tmp_path)
    yield served
    served.close()


def refused(issuer: ServedIssuer, token: str, **more: str) -> str:
    options = Options.from_environment({**issuer.environ, **more})
    variables = settings.preview_variables(TOPOLOGY, options, "primary")
    return refusal("us-east-1", variables, token)


def test_a_token_is_judged_as_the_functions_would_judge_it(
    issuer: ServedIssuer,
) -> None:
    assert refused(issuer, issuer.token()) == ""
    for token, says in (
        (issuer.token("users:read"), "The token lacks the scope users:write."),
        (issuer.token("users:admin"), "the scope users:read and users:write."),
        (issuer.token(minutes=-5), "Signature has expired"),
        (issuer.token()[:-4], "not a signed JWT of this issuer"),
        ("t0ken", "not a signed JWT"),
    ):
        assert says in refused(issuer, token), token


def test_a_token_of_another_issuer_or_audience_is_refused(
    issuer: ServedIssuer, tmp_path: Path
) -> None:
    assert "udience" in refused(issuer, issuer.token(), OIDC_AUDIENCE="another")
    other = HttpsIssuer.load(tmp_path / "another key", issuer.issuer.port)
    scopes = ["users:read", "users:write"]
    token = other.token(subject="operator", scopes=scopes, minutes=60)
    assert refused(issuer, token) == "The token is not a signed JWT of this issuer."


def test_an_issuer_whose_keys_cannot_be_read_is_named(issuer: ServedIssuer) -> None:
    issuer.close()
    assert "The issuer's keys cannot be read from here" in refused(
        issuer, issuer.token()
    )


def test_the_schema_is_judged_by_the_migrations_that_the_database_has(
    sandbox: Status, superuser: psycopg.Connection[Any]
) -> None:
    """Those of the schema public, in which no test database is."""
    query = "SELECT to_regclass('public.django_migrations') IS NOT NULL"
    applied: set[tuple[str, str]] = set()
    if superuser.execute(query).fetchone() == (True,):
        rows = superuser.execute("SELECT app, name FROM public.django_migrations")
        applied = set(rows.fetchall())
    known = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    environ = {**os.environ, **sandbox.environ(), "DJANGO_SECRET_KEY": "k"}
    assert unapplied_migrations("us-east-1", environ) == sorted(
        f"{app}.{name}" for app, name in set(known) - applied
    )


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"PGPORT": "1"}, "refused"),
        ({"API_RATE_LIMIT": "ten"}, "API_RATE_LIMIT is 'ten'"),
    ],
)
def test_a_schema_that_cannot_be_read_is_no_missing_migration(
    sandbox: Status, environ: dict[str, str], says: str
) -> None:
    base = {**os.environ, **sandbox.environ(), "DJANGO_SECRET_KEY": "k"}
    with pytest.raises(CheckFailed, match=says):
        unapplied_migrations("us-east-1", {**base, **environ})
