"""The API's contract, OpenAPI 3.1, made from the code that keeps it.

Paths, methods and scopes come from the URLconf and the views, bodies from the
serializers, problems from their catalogue; only sentences are written here.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework import serializers

from config.api.idempotency import KEY
from config.api.pages import CONTRACT
from config.api.problem_types import PROBLEM_TYPES
from config.api.problems import MEDIA_TYPE
from config.api.views import JSONView
from ops import reference
from users import bulk, names, parameters
from users.selectors import FIELDS
from users.serializers import Email, Name, UserInput
from users.views import MAX_IMPORT_LINES

Schema = dict[str, Any]
JSON, MERGE_PATCH, NDJSON, HTML = (
    "application/json",
    "application/merge-patch+json",
    "application/x-ndjson",
    "text/html",
)
MOMENT = {"type": "string", "format": "date-time"}
ALWAYS = (
    "malformed",
    "invalid_parameter",
    "host_not_allowed",
    "method_not_allowed",
    "internal_error",
)
GUARDED = (
    "unauthenticated",
    "insufficient_scope",
    "rate_limited",
    "issuer_unavailable",
    "too_large",  # whatever the method: it is the announced length that counts
)
DATABASE = ("database_unavailable", "schema_behind", "write_conflict")
SAVING = (*DATABASE, "outcome_unknown")
BODY = ("invalid", "length_required", "too_large", "unsupported_media_type")
CHANGE = (
    *BODY,
    "not_found",
    "email_taken",
    "precondition_failed",
    "precondition_required",
)


def ref(kind: str, name: str) -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def query(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def header(name: str, pattern: str, description: str) -> Schema:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "schema": schema, "description": description}


RFC3339 = "Exactly as RFC 3339 writes it, with an offset; + is written %2B."
LIST_TAGS = r'^(\*|(W/)?"[!#-~]*"(, (W/)?"[!#-~]*")*)$'
PARAMETERS = {
    "cursor": query("cursor", {"type": "string"}, "A place in the list, as next and previous give it."),
    "email": query("email", {"type": "string", "minLength": 1, "maxLength": 254}, "The user with this address; letter case does not count."),
    "name_prefix": query("name_prefix", {"type": "string", "minLength": 1, "maxLength": 100}, "Users whose name begins so, in the order of their names. A to Z match in either case, every other character only as it is stored (no normalization). Not with created_from or created_to."),
    "created_from": query("created_from", MOMENT, f"Created then or later. {RFC3339}"),
    "created_to": query("created_to", MOMENT, f"Created before. {RFC3339}"),
    "user_id": {"name": "user_id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}},
    "If-Match": header("If-Match", LIST_TAGS, "Only if this is the version, else 412 (RFC 9110): ETag as last read, or *. A weak tag never matches."),
    "If-None-Match": header("If-None-Match", LIST_TAGS, "Only if this is no longer the version, else 304, or 412 for a change."),
    "Idempotency-Key": header("Idempotency-Key", f"^{KEY.pattern}$", "New for each request, the same for its repeats, in either Region, for 24 hours. Each caller has its own; where nobody is asked who calls, all callers share them: use a UUID."),
}  # fmt: skip
FILTERS, CONDITIONS = list(parameters.FILTERS), ("If-Match", "If-None-Match")
HEADERS = {
    "ETag": ("The version, for If-Match and If-None-Match.", "string"),
    "Location": ("Where the user is.", "string"),
    "Link": ("The next and the previous page (RFC 8288).", "string"),
    "Idempotency-Replayed": ("true when this is the stored answer of an earlier request.", "string"),
    "X-Served-By-Region": ("The Region that served.", "string"),
    "RateLimit": ("What is left to this caller.", "string"),
    "RateLimit-Policy": ("What a caller may do in a time.", "string"),
    "Retry-After": ("Seconds to wait.", "integer"),
    "WWW-Authenticate": ("What to send (RFC 6750).", "string"),
    "Allow": ("The methods this path knows.", "string"),
    "Accept": ("The media types of bodies that are read here.", "string"),
    "Accept-Encoding": ("identity: the coding of bodies that are read here.", "string"),
}  # fmt: skip
CARRIED = {
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
# Where API_RATE_LIMIT is set: with what was done, and with the refusal of more.
RATE = {name: ref("headers", name) for name in ("RateLimit", "RateLimit-Policy")}


def operation(
    summary: str, answers: dict[int, Schema], problems: tuple[str, ...] = (),
    *, takes: tuple[str, ...] = (), body: dict[str, Schema] | None = None,
) -> Schema:  # fmt: skip
    made: Schema = {"summary": summary, "responses": answers, "problems": problems}
    if takes:
        made["parameters"] = [ref("parameters", name) for name in takes]
    if body:
        content = {media: {"schema": schema} for media, schema in body.items()}
        made["requestBody"] = {"required": True, "content": content}
    return made


def answer(
    description: str, schema: Schema | None = None, *headers: str, media: str = JSON,
    page: bool = False,
) -> Schema:  # fmt: skip
    made: Schema = {"description": description}
    made["headers"] = {
        name: ref("headers", name) for name in (*headers, "X-Served-By-Region")
    }
    if schema is not None:
        made["content"] = {media: {"schema": schema}}
    if page:
        made["content"][HTML] = {"schema": {"type": "string"}}
    return made


def ndjson(description: str, line: Schema) -> Schema:
    made = answer(description, {"type": "string"}, media=NDJSON)
    made["description"] += f" Each line: {json.dumps(line)}"
    return made


READ_ONLY = ", ".join(name for name in FIELDS if name not in UserInput().fields)
USER, HEALTH = ref("schemas", "User"), ref("schemas", "Health")
NEW, PATCH = {JSON: ref("schemas", "NewUser")}, ref("schemas", "UserPatch")
CHANGED = {
    200: answer("The user as it is now; the same version if nothing changed.", USER, "ETag"),
    204: answer("It was changed, for callers without users:read.", None, "ETag"),
}  # fmt: skip
IMPORTED = {
    "line": 1,
    "status": "created | exists | invalid | failed",
    "id": "…",
    "errors": [{"pointer": "…", "reason": "…"}],
    "cause": "the code of a problem, or deadline",
}
OPERATIONS: dict[tuple[str, str], Schema] = {
    ("index", "GET"): operation(
        "The service, its Region and its links; HTML for browsers.",
        {200: answer("The index.", ref("schemas", "Index"), page=True)},
    ),
    ("health", "GET"): operation(
        "Whether this Region can serve: its database answers and has every migration. Never "
        "limited; the state is at most a second old.",
        {200: answer("It can.", HEALTH),
         503: answer("It cannot, and why.", HEALTH, "Retry-After")},
    ),
    ("live", "GET"): operation(
        "Whether the process answers; the database is not asked.",
        {200: answer("It does.", ref("schemas", "Live"))},
    ),
    ("openapi", "GET"): operation(
        "This document.", {200: answer("OpenAPI 3.1.", {"type": "object"})}
    ),
    ("problems", "GET"): operation(
        "Every type of problem and what to do about it, for people.",
        {200: answer("A page.", {"type": "string"}, media=HTML)},
    ),
    ("users", "GET"): operation(
        "A page of users, newest first.",
        {200: answer("The page.", ref("schemas", "UserPage"), "Link")},
        DATABASE, takes=("limit", "cursor", *FILTERS),
    ),
    ("users", "POST"): operation(
        "Create a user.",
        {201: answer("The user, and the Region that wrote it; no body without users:read.",
                     ref("schemas", "CreatedUser"),
                     "ETag", "Location", "Idempotency-Replayed")},
        (*BODY, "email_taken", "idempotency_conflict", "idempotency_key_reused",
         "gone", *SAVING),
        takes=("Idempotency-Key",), body=NEW,
    ),
    ("user", "GET"): operation(
        "A user.",
        {200: answer("The user.", USER, "ETag"),
         304: answer("Still the version that If-None-Match names.", None, "ETag")},
        ("not_found", "precondition_failed", *DATABASE),
        takes=CONDITIONS,
    ),
    ("user", "PUT"): operation(
        f"Replace a user. What GET returned is sent back without {READ_ONLY}.", CHANGED,
        (*CHANGE, *SAVING), takes=CONDITIONS, body=NEW,
    ),
    ("user", "PATCH"): operation(
        "Change a part of a user (RFC 7396).", CHANGED,
        (*CHANGE, *SAVING), takes=CONDITIONS, body={MERGE_PATCH: PATCH, JSON: PATCH},
    ),
    ("user", "DELETE"): operation(
        "Delete a user.", {204: answer("It is gone.")},
        ("not_found", "precondition_failed", "precondition_required", *SAVING),
        takes=CONDITIONS,
    ),
    ("users-import", "POST"): operation(
        f"Create many users, one a line: at most {MAX_IMPORT_LINES:,} lines of at most "
        f"{bulk.MAX_LINE_BYTES:,} bytes. Sending it again skips existing users, so it takes no "
        "Idempotency-Key. Lines not reached before the deadline, or whose transaction failed, "
        "are failed, with the cause: send them again. A line of an export is imported without "
        f"{READ_ONLY} and the last line, next.",
        {200: ndjson("A result for each line, then their summary. An invalid line has its first "
                     "errors, as many as the response has room for.", IMPORTED)},
        ("length_required", "too_large", "unsupported_media_type", *SAVING),
        body={NDJSON: {"type": "string", "minLength": 1}},
    ),
    ("users-export", "GET"): operation(
        "Many users, one a line; the last line is {\"next\": …}, null at the end. An answer "
        "that would be too long ends early; one that fails has {\"error\": …} beside next.",
        {200: ndjson("The users.", {"next": "…"})},
        DATABASE, takes=("export_limit", "cursor", *FILTERS),
    ),
}  # fmt: skip


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
    paths: dict[str, Schema] = {}
    for path, pattern in routes():
        cls: type[JSONView] | None = getattr(pattern.callback, "cls", None)
        item = paths.setdefault(path, {})
        for name in re.findall(r"{(\w+)}", path):
            item["parameters"] = [ref("parameters", name)]
        for method in methods(pattern):
            described = OPERATIONS[str(pattern.name), method]
            scope = cls.scopes[method] if cls else None
            item[method.lower()] = finished(
                described, f"{method.lower()}-{pattern.name}", scope
            )
    return {
        "openapi": "3.1.1",
        "info": {
            "title": settings.API_NAME.capitalize(),
            "version": "1",
            "description": "Users, served by two AWS Regions over one database. A request "
            "that fails in one Region can be repeated in the other.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        # Relative to this document: the stage or the domain it was read from.
        "servers": [{"url": "."}],
        "paths": paths,
        "components": components(),
    }


def finished(described: Schema, name: str, scope: str | None) -> Schema:
    """The operation with its id, its scope and every problem it can answer."""
    made = {"operationId": name, **described}
    responses = {str(status): found for status, found in made["responses"].items()}
    codes = (*made.pop("problems"), *ALWAYS, *(GUARDED if scope else ()))
    by_status: dict[str, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(str(PROBLEM_TYPES[code].status), []).append(code)
    for status, found in by_status.items():
        responses.setdefault(status, problem_answer(found))
    if scope:
        responses |= {
            status: {**found, "headers": {**found["headers"], **RATE}}
            for status, found in responses.items()
            if status < "400" or status == str(PROBLEM_TYPES["rate_limited"].status)
        }
    made["responses"] = dict(sorted(responses.items()))
    made["security"] = [{"bearer": [scope]}] if scope else []
    return made


def problem_answer(codes: list[str]) -> Schema:
    extra = dict.fromkeys(name for code in codes for name in CARRIED.get(code, ()))
    text = " ".join(f"{code}: {PROBLEM_TYPES[code].meaning}" for code in codes)
    return answer(text, ref("schemas", "Problem"), *extra, media=MEDIA_TYPE)


TRIMMED = "Counted in Unicode code points, without white space at either end."
FIELD_SCHEMAS: dict[type, Schema] = {
    Name: {
        # A pattern cannot say by category what is visible.
        "pattern": f"^[^{names.CONTROL.pattern[1:-1]}]+$",
        "description": f"Visible characters, marks and spaces; at least one is visible. No "
        f"controls of text direction and nothing of zero width but joiners in scripts and "
        f"emoji that need them. {TRIMMED}",
    },
    Email: {
        "format": "email",
        "description": "As RFC 5321 writes it: at most 64 characters before @, 253 of domain, "
        f"63 of each label; the domain in ASCII. Unique without regard to case. {TRIMMED}",
    },
}


def fields(form: serializers.Serializer[Any]) -> dict[str, Schema]:
    return {name: field_schema(field) for name, field in form.fields.items()}


def field_schema(field: Any) -> Schema:
    made: Schema = {"type": "string", "minLength": 1, "maxLength": field.max_length}
    return made | FIELD_SCHEMAS[type(field)]


def components() -> Schema:
    form = UserInput()
    given = fields(form)
    body = {"type": "object", "properties": given, "additionalProperties": False}
    answered = {name: {"type": "string"} for name in given}
    user = {
        "id": {"type": "string", "format": "uuid"},
        **answered,
        "created_at": MOMENT,
        "updated_at": MOMENT,
    }
    page = {
        "users": {"type": "array", "items": USER},
        "count": {"type": "integer", "description": "Users on this page."},
        "region": {"type": "string"},
        "next": {"type": ["string", "null"]},
        "previous": {"type": ["string", "null"]},
    }
    limits = {
        name: query("limit", {"type": "integer", "minimum": 1, "maximum": most}, f"Default {default}.")
        for name, most, default in (
            ("limit", parameters.MAX_LIMIT, parameters.DEFAULT_LIMIT),
            ("export_limit", parameters.MAX_EXPORT, parameters.MAX_EXPORT),
        )
    }  # fmt: skip
    text = {"type": "string"}
    return {
        "schemas": {
            "User": closed(user),
            "CreatedUser": closed({**user, "region": text}),
            "NewUser": {**body, "required": list(given)},
            "UserPatch": {**body, "minProperties": 1},
            "UserPage": closed(page),
            "Index": closed({"service": text, "region": text, "links": {"type": "object"}}),
            "Live": closed({"status": {"const": "ok"}, "region": text}),
            "Health": closed({
                "status": {"enum": ["ok", "unavailable"]}, "region": text,
                "database": {"enum": ["ok", "unreachable"]},
                "schema": {"enum": ["current", "behind", "unknown"]},
            }),
            "Problem": problem_schema(),
        },
        "parameters": {**limits, **PARAMETERS},
        "headers": {
            name: {"description": text, "schema": {"type": kind}}
            for name, (text, kind) in HEADERS.items()
        },
        "securitySchemes": {
            "bearer": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                "description": "An access token as RFC 9068 profiles it.",
            }
        },
    }  # fmt: skip


def closed(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def problem_schema() -> Schema:
    error = {
        "type": "object",
        "properties": {
            name: {"type": "string"} for name in ("pointer", "parameter", "reason")
        },
        "required": ["reason"],
    }
    required = {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"enum": list(PROBLEM_TYPES)},
        "detail": {"type": "string"},
    }
    made = closed(required)
    made["properties"] = {**required, "errors": {"type": "array", "items": error}}
    return made


def files() -> dict[Path, str]:
    """What is made of the code: the contract, and its page for people."""
    made = document()
    return {
        CONTRACT: json.dumps(made, indent=1, ensure_ascii=False) + "\n",
        reference.PAGE: reference.render(made),
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
