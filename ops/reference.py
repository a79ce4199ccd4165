"""The contract as a page for people: a file next to the code, not served by a function."""

from collections.abc import Iterator
from html import escape
from typing import Any

from ops.paths import PROJECT

PAGE = PROJECT / "docs" / "api.html"
STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;"
    "padding:0 1rem;color-scheme:light dark}table{border-collapse:collapse}"
    "td,th{padding:.2rem .6rem;border:1px solid #8888;text-align:left;vertical-align:top}"
)


def render(document: dict[str, Any]) -> str:
    """The whole page for an OpenAPI document of ``ops.contract``."""
    info = document["info"]
    sections = "".join(
        _operation(document, path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(info['title'])} API</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} API</h1><p>{escape(info['description'])}</p>\n"
        f"{sections}</body></html>\n"
    )


def _operation(
    document: dict[str, Any], path: str, method: str, operation: dict[str, Any]
) -> str:
    scopes = [scope for one in operation["security"] for scope in one["bearer"]]
    needs = f"<p>Scope: <code>{escape(scopes[0])}</code></p>" if scopes else ""
    parameters = _table("Parameter", _parameters(document, operation))
    responses = ((s, a["description"]) for s, a in operation["responses"].items())
    return (
        f'<section id="{operation["operationId"]}">'
        f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
        f"<p>{escape(operation['summary'])}</p>{needs}{parameters}"
        f"{_table('Response', responses)}</section>\n"
    )


def _parameters(
    document: dict[str, Any], operation: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    known = document["components"]["parameters"]
    for reference in operation.get("parameters", ()):
        found = known[reference["$ref"].rpartition("/")[2]]
        yield found["name"], found["description"]


def _table(head: str, rows: Iterator[tuple[str, str]]) -> str:
    cells = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(text)}</td></tr>"
        for name, text in rows
    )
    return f"<table><tr><th>{head}</th><th></th></tr>{cells}</table>" if cells else ""
