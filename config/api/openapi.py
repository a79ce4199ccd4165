"""What the contract says of the core, and the words that an app describes itself with.

An app with a resource has a module ``openapi`` of its own: OPERATIONS by the URL's name
and the method, PARAMETERS and SCHEMAS. ``manage.py openapi`` puts them together.
"""

import json
from typing import Any

from config.api.idempotency import KEY
from config.api.problem_types import PROBLEM_TYPES

Schema = dict[str, Any]
JSON, MERGE_PATCH, NDJSON, HTML = (
    "application/json",
    "application/merge-patch+json",
    "application/x-ndjson",
    "text/html",
)
TEXT: Schema = {"type": "string"}
MOMENT: Schema = {"type": "string", "format": "date-time"}
UUID: Schema = {"type": "string", "format": "uuid"}
RFC3339 = "Exactly as RFC 3339 writes it, with an offset; write + as %2B."
# Problems by what an operation does.
DATABASE = ("database_unavailable", "schema_behind", "write_conflict")
SAVING = (*DATABASE, "outcome_unknown")
BODY = ("invalid", "length_required", "too_large", "unsupported_media_type")
CONDITIONAL = ("precondition_failed", "precondition_required")
KEYED = ("idempotency_conflict", "idempotency_key_reused", "gone")


def ref(kind: str, name: str) -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def query(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def header(name: str, pattern: str, description: str) -> Schema:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "schema": schema, "description": description}


def path_key(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": UUID}


def limit(most: int, default: int) -> Schema:
    schema = {"type": "integer", "minimum": 1, "maximum": most}
    return query("limit", schema, f"Default {default}.")


def closed(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def page(name: str, items: Schema) -> Schema:
    """The schema of a list's response, with the rows under the resource's name."""
    return closed(
        {
            name: {"type": "array", "items": items},
            "count": {
                "type": "integer",
                "description": f"{name.capitalize()} on this page.",
            },
            "region": TEXT,
            "next": {"type": ["string", "null"]},
            "previous": {"type": ["string", "null"]},
        }
    )


def operation(
    summary: str,
    responses: dict[int, Schema],
    problems: tuple[str, ...] = (),
    *,
    parameters: tuple[str, ...] = (),
    body: dict[str, Schema] | None = None,
) -> Schema:
    described: Schema = {
        "summary": summary,
        "responses": responses,
        "problems": problems,
    }
    if parameters:
        described["parameters"] = [ref("parameters", name) for name in parameters]
    if body:
        content = {media: {"schema": schema} for media, schema in body.items()}
        described["requestBody"] = {"required": True, "content": content}
    return described


def response(
    description: str,
    schema: Schema | None = None,
    *headers: str,
    media: str = JSON,
    html: bool = False,
) -> Schema:
    described: Schema = {"description": description}
    described["headers"] = {
        name: ref("headers", name) for name in (*headers, "X-Served-By-Region")
    }
    if schema is not None:
        described["content"] = {media: {"schema": schema}}
    if html:
        described["content"][HTML] = {"schema": TEXT}
    return described


def ndjson(description: str, line: Schema) -> Schema:
    lines = f"{description} Each line: {json.dumps(line)}"
    return response(lines, TEXT, media=NDJSON)


def _problem_schema() -> Schema:
    reason = dict.fromkeys(("pointer", "parameter", "reason"), TEXT)
    error = {"type": "object", "properties": reason, "required": ["reason"]}
    described = closed(
        {
            "type": {"type": "string", "format": "uri-reference"},
            "title": TEXT,
            "status": {"type": "integer"},
            "code": {"enum": list(PROBLEM_TYPES)},
            "detail": TEXT,
        }
    )
    described["properties"]["errors"] = {"type": "array", "items": error}
    return described


LIST_TAGS = r'^(\*|(W/)?"[!#-~]*"(, (W/)?"[!#-~]*")*)$'
CONDITIONS = ("If-Match", "If-None-Match")
PARAMETERS: dict[str, Schema] = {
    "cursor": query("cursor", TEXT, "A place in the list, as next and previous give it."),
    "If-Match": header("If-Match", LIST_TAGS, "Only if this is the version, else 412 (RFC 9110): ETag as last read, or *. A weak tag never matches."),
    "If-None-Match": header("If-None-Match", LIST_TAGS, "Only if this is no longer the version, else 304, or 412 for a change."),
    "Idempotency-Key": header("Idempotency-Key", f"^{KEY.pattern}$", "New for each request, the same for its repeats, in either Region, for 24 hours. Each caller has its own keys; without authentication all callers share them: use a UUID."),
}  # fmt: skip
HEADERS = {
    "ETag": ("The version, for If-Match and If-None-Match.", "string"),
    "Location": ("Where the new resource is.", "string"),
    "Link": ("The next and the previous page (RFC 8288).", "string"),
    "Idempotency-Replayed": ("true when this is the stored response to an earlier request.", "string"),
    "X-Served-By-Region": ("The Region that served the request.", "string"),
    "RateLimit": ("How many requests this caller has left.", "string"),
    "RateLimit-Policy": ("How many requests a caller may send in what time.", "string"),
    "Retry-After": ("Seconds to wait.", "integer"),
    "WWW-Authenticate": ("What to send (RFC 6750).", "string"),
    "Allow": ("The methods that this path supports.", "string"),
    "Accept": ("The media types of bodies that are accepted here.", "string"),
    "Accept-Encoding": ("identity: the only content coding that is accepted here.", "string"),
}  # fmt: skip
SCHEMAS: dict[str, Schema] = {
    "Index": closed({"service": TEXT, "region": TEXT, "links": {"type": "object"}}),
    "Live": closed({"status": {"const": "ok"}, "region": TEXT}),
    "Health": closed({
        "status": {"enum": ["ok", "unavailable"]}, "region": TEXT,
        "database": {"enum": ["ok", "unreachable"]},
        "schema": {"enum": ["current", "behind", "unknown"]},
    }),
    "Problem": _problem_schema(),
}  # fmt: skip
HEALTH = ref("schemas", "Health")
OPERATIONS: dict[tuple[str, str], Schema] = {
    ("index", "GET"): operation(
        "The service, its Region and its links; HTML for browsers.",
        {200: response("The index.", ref("schemas", "Index"), html=True)},
    ),
    ("health", "GET"): operation(
        "Whether this Region can serve: its database responds and has every migration. Never "
        "limited; the state is at most a second old.",
        {200: response("It can.", HEALTH),
         503: response("It cannot, and why.", HEALTH, "Retry-After")},
    ),
    ("live", "GET"): operation(
        "Whether the process responds; the database is not used.",
        {200: response("It does.", ref("schemas", "Live"))},
    ),
    ("openapi", "GET"): operation(
        "This document.", {200: response("OpenAPI 3.1.", {"type": "object"})}
    ),
    ("problems", "GET"): operation(
        "Every type of problem and what to do about it, for people.",
        {200: response("A page.", TEXT, media=HTML)},
    ),
}  # fmt: skip
