"""Cross-origin access by allow-list, and the headers of every answer."""

from typing import Any

import pytest
from django.test import Client

from tests.users.test_api import send

pytestmark = pytest.mark.django_db
ORIGIN = "https://app.example.com"


@pytest.fixture(autouse=True)
def allowed(settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]


def preflight(client: Client, origin: str, method: str = "PATCH") -> Any:
    asked = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "if-match, idempotency-key",
    }
    return client.options("/users", headers=asked)


def test_a_listed_origin_may_send_what_the_api_reads(client: Client) -> None:
    answer = preflight(client, ORIGIN)
    assert answer.status_code == 200
    assert answer["Access-Control-Allow-Origin"] == ORIGIN
    assert "PATCH" in answer["Access-Control-Allow-Methods"]
    for header in ("authorization", "if-match", "idempotency-key", "content-type"):
        assert header in answer["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer


def test_a_preflight_answer_is_as_every_other(client: Client) -> None:
    answer = preflight(client, ORIGIN)
    assert answer["X-Served-By-Region"] == "us-east-1"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"].startswith("default-src 'none'")
    assert "Content-Type" not in answer


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example.com", "http://app.example.com", "https://app.example.com.evil",
     "null", "https://app.example.com:8443", "https://[", "*"],
)  # fmt: skip
def test_another_origin_is_allowed_nothing(client: Client, origin: str) -> None:
    for answer in (
        preflight(client, origin),
        client.get("/users", headers={"origin": origin}),
    ):
        assert "Access-Control-Allow-Origin" not in answer


def test_a_browser_may_read_answers_and_errors(client: Client) -> None:
    for answer in (
        client.get("/users", headers={"origin": ORIGIN}),
        client.get("/nothing", headers={"origin": ORIGIN}),
        send(client, "POST", "/users", b"{", headers={"origin": ORIGIN}),
        send(client, "POST", "/users", b" " * 70_000, headers={"origin": ORIGIN}),
    ):
        assert answer["Access-Control-Allow-Origin"] == ORIGIN
        assert "ETag" in answer["Access-Control-Expose-Headers"]
        assert "origin" in answer["Vary"].lower()


def test_options_names_the_methods(client: Client) -> None:
    answer = client.options("/users")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer["Allow"] == "GET, POST, HEAD, OPTIONS"


@pytest.mark.parametrize("path", ["/users", "/health", "/health/live", "/", "/nothing"])
def test_every_answer_is_guarded(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "no-referrer"
    assert answer["Strict-Transport-Security"].startswith("max-age=31536000")
    assert answer["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer["Cache-Control"] == "no-store"
