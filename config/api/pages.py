"""What people read: the front page, the types of problems, the contract.

Self-contained pages: no script, style or font of another origin. Files are read when a
page is first requested, never at start-up.
"""

import hashlib
import re
from base64 import b64encode
from contextlib import suppress
from functools import cache
from html import escape
from pathlib import Path
from string import Template

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from config.api.problem_types import PROBLEM_TYPES
from config.api.problems import Problem
from config.api.region import peer_origin, serving_region
from config.api.responses import json_response
from config.api.views import safe

DIRECTORY = Path(__file__).parent
CONTRACT = DIRECTORY / "openapi.json"
CORE_LINKS = ("health", "live", "openapi", "problems")  # names of URLs
RESOURCE_LINKS: dict[str, None] = {}  # in the order of the apps, which declare them
MAX_ACCEPT = 1000
CACHED = {"Cache-Control": "public, max-age=300"}


@safe
def index(request: HttpRequest) -> HttpResponse:
    """JSON, or a page for those who prefer HTML."""
    if _prefers_html(request):
        return _page(
            "index.html",
            {"region": serving_region(), "peer": settings.PEER_URL},
            trusted={"resources": "\n        ".join(map(_link, RESOURCE_LINKS))},
            connect=peer_origin(),
        )
    links = {name: reverse(name) for name in (*RESOURCE_LINKS, *CORE_LINKS)}
    content = {
        "service": settings.API_NAME,
        "region": serving_region(),
        "links": links,
    }
    return json_response(content, headers={"Vary": "Accept"})


def _link(name: str) -> str:
    return f'<li><a href="{escape(reverse(name))}">{name.capitalize()}</a> (JSON)</li>'


def _prefers_html(request: HttpRequest) -> bool:
    """Raises Problem. Django takes the square of the header's length to read it."""
    if len(request.META.get("HTTP_ACCEPT", "")) <= MAX_ACCEPT:
        with suppress(ValueError):  # a parameter in an unknown charset
            kinds = ["application/json", "text/html"]
            return request.get_preferred_type(kinds) == "text/html"
    raise Problem(
        "malformed", f"Accept must be media types, at most {MAX_ACCEPT} characters."
    )


@safe
def problems(request: HttpRequest) -> HttpResponse:
    """Where every problem's ``type`` leads."""
    sections = "".join(
        f'<section id="{code.replace("_", "-")}"><h2>{code}</h2>'
        f"<p><b>{kind.status} {kind.title}.</b> {escape(kind.meaning)}</p>"
        f"<p>{escape(kind.remedy)}</p></section>"
        for code, kind in PROBLEM_TYPES.items()
    )
    return _page("problems.html", {}, trusted={"sections": sections})


@safe
def openapi(request: HttpRequest) -> HttpResponse:
    """The contract, as ``manage.py openapi`` wrote it."""
    return HttpResponse(
        _text(CONTRACT), content_type="application/json", headers=CACHED
    )


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _page(
    name: str,
    values: dict[str, str],
    *,
    trusted: dict[str, str] | None = None,
    connect: str = "",
) -> HttpResponse:
    text = _text(DIRECTORY / name)
    named = {**values, "title": settings.API_NAME.capitalize()}
    escaped = {key: escape(value) for key, value in named.items()}
    urls = {f"{link}_url": escape(reverse(link)) for link in CORE_LINKS}
    content = Template(text).substitute(urls | escaped | (trusted or {}))
    policy = f"{_policy(text)}; connect-src 'self' {connect}".strip()
    return HttpResponse(
        content, headers={"Content-Security-Policy": policy, "Vary": "Accept"}
    )


@cache
def _policy(text: str) -> str:
    """Only the page's own script and style run: CSP Level 3, hash sources."""
    sources = [
        "default-src 'none'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    for tag in ("script", "style"):
        for own in re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL):
            digest = b64encode(hashlib.sha256(own.encode()).digest()).decode()
            sources.append(f"{tag}-src 'sha256-{digest}'")
    return "; ".join([*sources, "frame-ancestors 'none'"])
