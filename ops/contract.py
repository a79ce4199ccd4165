"""The API's contract, OpenAPI 3.1, made from the code that implements it.

Paths, methods and scopes come from the URLconf and the views, problems from their
catalogue, and the sentences from the module ``openapi`` of each app.
"""

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from django.apps import apps
from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.module_loading import module_has_submodule

from config.api import access, openapi
from config.api.openapi import Schema, ref, response
from config.api.pages import CONTRACT
from config.api.problem_types import PROBLEM_TYPES
from config.api.problems import MEDIA_TYPE
from config.api.views import JSONView
from ops import reference

ALWAYS = (
    "malformed",
    "invalid_parameter",
    "host_not_allowed",
    "method_not_allowed",
    "internal_error",
)
AUTHENTICATED = (
    "unauthenticated",
    "insufficient_scope",
    "rate_limited",
    "issuer_unavailable",
    "too_large",  # whatever the method: the announced length counts
)
# The headers that a problem's response has.
PROBLEM_HEADERS = {
    "unauthenticated": ["WWW-Authenticate"],
    "insufficient_scope": ["WWW-Authenticate"],
    "method_not_allowed": ["Allow"],
    "unsupported_media_type": ["Accept", "Accept-Encoding"],
    "idempotency_conflict": ["Retry-After"],
    "rate_limited": ["Retry-After"],
    "issuer_unavailable": ["Retry-After"],
    "database_unavailable": ["Retry-After"],
    "write_conflict": ["Retry-After"],
}
# Where API_RATE_LIMIT is set: with every success, and with the refusal of more.
RATE = {name: ref("headers", name) for name in ("RateLimit", "RateLimit-Policy")}


def descriptions() -> Iterator[ModuleType]:
    """The module ``openapi`` of every app that has one, the core's included."""
    for app in apps.get_app_configs():
        if module_has_submodule(app.module, "openapi"):
            yield import_module(f"{app.name}.openapi")


def routes() -> Iterator[tuple[str, URLPattern]]:
    """Every named pattern, with its path in OpenAPI's notation."""

    def walk(
        patterns: list[URLPattern | URLResolver], prefix: str
    ) -> Iterator[tuple[str, URLPattern]]:
        for pattern in patterns:
            path = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, path)
            else:
                yield "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path), pattern

    return walk(get_resolver().url_patterns, "")


def methods(pattern: URLPattern) -> list[str]:
    cls = getattr(pattern.callback, "cls", None)
    return list(cls.scopes) if cls is not None else ["GET"]


def document() -> Schema:
    title = settings.API_NAME.capitalize()
    return {
        "openapi": "3.1.1",
        "info": {
            "title": title,
            "version": "1",
            "description": f"{title}, served by two AWS Regions over one database. A request "
            "that fails in one Region can be repeated in the other.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        # Relative to this document: the stage or the domain it was read from.
        "servers": [{"url": "."}],
        "paths": paths(),
        "components": components(),
    }


def paths() -> Schema:
    found: Schema = {}
    operations = collect("OPERATIONS")
    for path, pattern in routes():
        cls: type[JSONView] | None = getattr(pattern.callback, "cls", None)
        item = found.setdefault(path, {})
        for name in re.findall(r"{(\w+)}", path):
            item["parameters"] = [ref("parameters", name)]
        for method in methods(pattern):
            item[method.lower()] = complete_operation(
                operations[str(pattern.name), method],
                f"{method.lower()}-{pattern.name}",
                cls.scopes[method] if cls else None,
            )
    return found


def complete_operation(described: Schema, name: str, scope: str | None) -> Schema:
    """The operation with its id, its scope and every problem it can respond with."""
    operation = {"operationId": name, **described}
    responses = {str(status): each for status, each in operation["responses"].items()}
    codes = (*operation.pop("problems"), *ALWAYS, *(AUTHENTICATED if scope else ()))
    by_status: dict[str, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(str(PROBLEM_TYPES[code].status), []).append(code)
    for status, found in by_status.items():
        responses.setdefault(status, problem_response(found))
    if scope:
        responses |= {
            status: {**each, "headers": {**each["headers"], **RATE}}
            for status, each in responses.items()
            if status < "400" or status == str(PROBLEM_TYPES["rate_limited"].status)
        }
    operation["responses"] = dict(sorted(responses.items()))
    operation["security"] = [{"bearer": [scope]}] if scope else []
    return operation


def problem_response(codes: list[str]) -> Schema:
    names = (name for code in codes for name in PROBLEM_HEADERS.get(code, ()))
    text = " ".join(f"{code}: {PROBLEM_TYPES[code].meaning}" for code in codes)
    problem = ref("schemas", "Problem")
    return response(text, problem, *dict.fromkeys(names), media=MEDIA_TYPE)


def components() -> Schema:
    scopes = " ".join(f"{name}: {text}" for name, text in access.SCOPES.items())
    return {
        "schemas": collect("SCHEMAS"),
        "parameters": collect("PARAMETERS"),
        "headers": {
            name: {"description": text, "schema": {"type": kind}}
            for name, (text, kind) in openapi.HEADERS.items()
        },
        "securitySchemes": {
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": f"An access token as RFC 9068 profiles it. {scopes}",
            }
        },
    }


def collect(attribute: str) -> dict[Any, Any]:
    """What all the modules say, merged."""
    found: dict[Any, Any] = {}
    for module in descriptions():
        found |= getattr(module, attribute)
    return found


def files() -> dict[Path, str]:
    """What is generated from the code: the contract, and its page for people."""
    contract = document()
    return {
        CONTRACT: json.dumps(contract, indent=1, ensure_ascii=False) + "\n",
        reference.PAGE: reference.render(contract),
    }


def stale() -> list[Path]:
    """The files that are not what the code says."""
    return [
        path
        for path, text in files().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def write() -> None:
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
