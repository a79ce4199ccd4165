"""The pages for people, as a browser shows them."""

import html
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import clear_script_prefix, set_script_prefix

from config.api.problem_types import PROBLEM_TYPES
from tests.chromium import BROWSER, OPTIONS
from tests.regions import region_server

HTML = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize(
    ("accept", "kind"),
    [(None, "application/json"), ("*/*", "application/json"),
     ("application/json", "application/json"), (HTML["accept"], "text/html"),
     ("text/html;q=0.5, application/json", "application/json"),
     ("image/png", "application/json"), (";;", "application/json")],
)  # fmt: skip
def test_browsers_get_a_page_and_programs_json(accept: str | None, kind: str) -> None:
    answer = Client().get("/", headers={"accept": accept} if accept else {})
    assert answer.status_code == 200
    assert answer["Content-Type"].partition(";")[0] == kind
    assert "Accept" in answer["Vary"]


def test_the_json_index_names_the_region_and_the_links() -> None:
    assert Client().get("/").json() == {
        "service": "users",
        "region": "us-east-1",
        "links": {
            "users": "/users",
            "health": "/health",
            "live": "/health/live",
            "openapi": "/openapi.json",
            "problems": "/problems",
        },
    }


def test_what_a_page_shows_is_escaped_and_tells_no_internals(settings: Any) -> None:
    settings.PEER_URL = "https://peer.example.com/'\"><script>"
    answer = Client().get("/", headers=HTML)
    text = answer.content.decode()
    assert "<script>" not in text.partition("data-peer=")[2].partition("\n")[0]
    assert (
        "connect-src 'self' https://peer.example.com"
        in answer["Content-Security-Policy"]
    )
    assert not re.search(
        r"Django|Python|psycopg|dsql|\d+\.\d+\.\d+", text, re.IGNORECASE
    )


def test_every_problem_has_its_place_on_the_page() -> None:
    problem = Client().get("/nothing").json()
    assert problem["type"] == "/problems#not-found"
    page = Client().get("/problems").content.decode()
    for code in PROBLEM_TYPES:
        assert f'<section id="{code.replace("_", "-")}">' in page


def test_links_and_types_follow_the_stage() -> None:
    set_script_prefix("/prod/")
    try:
        links = Client().get("/").json()["links"]
        problem = Client().get("/nothing").json()
        page = Client().get("/", headers=HTML).content.decode()
    finally:
        clear_script_prefix()
    assert links["users"] == "/prod/users"
    assert problem["type"] == "/prod/problems#not-found"
    assert 'data-health="/prod/health"' in page


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("https://peer.example.com", True), ("https://other.example.com", False)],
)
def test_only_the_peers_page_may_read_the_health(
    settings: Any, origin: str, allowed: bool
) -> None:
    settings.PEER_URL = "https://peer.example.com/prod"
    answer = Client().get("/health", headers={"origin": origin})
    assert answer.get("Access-Control-Allow-Origin") == (origin if allowed else None)
    assert "origin" in answer["Vary"].lower()


def shown(url: str, profile: Path) -> str:
    """The page's DOM when its scripts have run."""
    assert BROWSER is not None
    done = subprocess.run(
        [
            *(BROWSER, *OPTIONS),
            *(f"--user-data-dir={profile}", "--enable-logging=stderr", "--v=0"),
            *("--virtual-time-budget=10000", "--dump-dom", url),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "Content Security Policy" not in done.stderr, done.stderr
    return done.stdout


def text_of(page: str, place: str) -> str:
    found = re.search(f'id="{place}"[^>]*>([^<]*)<', page)
    assert found, page
    return html.unescape(found[1])


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium")
@pytest.mark.django_db(transaction=True, databases=["default", "secondary"])
def test_the_front_page_shows_both_regions(tmp_path: Path, settings: Any) -> None:
    with region_server("default", threads=True) as here:
        settings.CORS_ALLOWED_ORIGINS = [here]
        with region_server("secondary", threads=True) as there:
            settings.PEER_URL = there
            page = shown(here, tmp_path / "both")
            assert text_of(page, "region") == "us-east-1"
            assert text_of(page, "here") == "us-east-1: healthy"
            assert text_of(page, "there") == "us-east-1: healthy"
        page = shown(here, tmp_path / "one")
        assert text_of(page, "here") == "us-east-1: healthy"
        assert text_of(page, "there") == "cannot be reached"
        settings.PEER_URL = ""
        page = shown(here, tmp_path / "alone")
        assert text_of(page, "there") == "not configured"
