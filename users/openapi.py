"""What the contract says of users."""

from typing import Any

from config.api import ndjson, pagination
from config.api.fields import CONTROL
from config.api.openapi import (
    BODY,
    CONDITIONAL,
    CONDITIONS,
    DATABASE,
    JSON,
    KEYED,
    MERGE_PATCH,
    MOMENT,
    NDJSON,
    RFC3339,
    SAVING,
    TEXT,
    UUID,
    Schema,
    closed,
    limit,
    operation,
    page,
    path_key,
    query,
    ref,
    response,
)
from config.api.openapi import ndjson as ndjson_response
from config.api.parsers import MAX_BODY_BYTES
from users.filters import FILTERS
from users.selectors import FIELDS
from users.serializers import UserInput

TRIMMED = "Counted in Unicode code points, without white space at either end."
FIELD_SCHEMAS: dict[str, Schema] = {
    "name": {
        # A pattern cannot say by category what is visible.
        "pattern": f"^[^{CONTROL.pattern[1:-1]}]+$",
        "description": f"Visible characters, marks and spaces; at least one is visible. No "
        f"controls of text direction and nothing of zero width but joiners in scripts and "
        f"emoji that need them. {TRIMMED}",
    },
    "email": {
        "format": "email",
        "description": "As RFC 5321 writes it: at most 64 characters before @, 253 of domain, "
        f"63 of each label; the domain in ASCII. Unique without regard to case. {TRIMMED}",
    },
}
INPUT = UserInput()
READ_ONLY = ", ".join(name for name in FIELDS if name not in INPUT.fields)
PARAMETERS: dict[str, Schema] = {
    "limit": limit(pagination.MAX_LIMIT, pagination.DEFAULT_LIMIT),
    "export_limit": limit(ndjson.MAX_EXPORT, ndjson.MAX_EXPORT),
    "email": query("email", {"type": "string", "minLength": 1, "maxLength": 254}, "The user with this address; letter case does not count."),
    "name_prefix": query("name_prefix", {"type": "string", "minLength": 1, "maxLength": 100}, "Users whose name begins so, in the order of their names. A to Z match in either case, every other character only as it is stored (no normalization). Not with created_from or created_to."),
    "created_from": query("created_from", MOMENT, f"Created then or later. {RFC3339}"),
    "created_to": query("created_to", MOMENT, f"Created before. {RFC3339}"),
    "user_id": path_key("user_id"),
}  # fmt: skip


def field_schema(name: str, field: Any) -> Schema:
    described = {"type": "string", "minLength": 1, "maxLength": field.max_length}
    return described | FIELD_SCHEMAS[name]


FIELDS_GIVEN = {name: field_schema(name, each) for name, each in INPUT.fields.items()}
USER_PROPERTIES = {
    "id": UUID,
    **dict.fromkeys(FIELDS_GIVEN, TEXT),
    "created_at": MOMENT,
    "updated_at": MOMENT,
}
INPUT_SCHEMA = {
    "type": "object",
    "properties": FIELDS_GIVEN,
    "additionalProperties": False,
}
USER = ref("schemas", "User")
SCHEMAS: dict[str, Schema] = {
    "User": closed(USER_PROPERTIES),
    "CreatedUser": closed({**USER_PROPERTIES, "region": TEXT}),
    "NewUser": {**INPUT_SCHEMA, "required": list(FIELDS_GIVEN)},
    "UserPatch": {**INPUT_SCHEMA, "minProperties": 1},
    "UserPage": page("users", USER),
}
NEW, PATCH = {JSON: ref("schemas", "NewUser")}, ref("schemas", "UserPatch")
CHANGE = (*BODY, "not_found", "email_taken", *CONDITIONAL, *SAVING)
CHANGED = {
    200: response("The user as it is now; the same version if nothing changed.", USER, "ETag"),
    204: response("It was changed, for callers without users:read.", None, "ETag"),
}  # fmt: skip
IMPORTED = {
    "line": 1,
    "status": "created | exists | invalid | failed",
    "id": "…",
    "errors": [{"pointer": "…", "reason": "…"}],
    "cause": "the code of a problem, or deadline",
}
OPERATIONS: dict[tuple[str, str], Schema] = {
    ("users", "GET"): operation(
        "A page of users, newest first.",
        {200: response("The page.", ref("schemas", "UserPage"), "Link")},
        DATABASE, parameters=("limit", "cursor", *FILTERS),
    ),
    ("users", "POST"): operation(
        "Create a user.",
        {201: response("The user, and the Region that wrote it; no body without users:read.",
                       ref("schemas", "CreatedUser"),
                       "ETag", "Location", "Idempotency-Replayed")},
        (*BODY, "email_taken", *KEYED, *SAVING),
        parameters=("Idempotency-Key",), body=NEW,
    ),
    ("user", "GET"): operation(
        "A user.",
        {200: response("The user.", USER, "ETag"),
         304: response("Still the version that If-None-Match names.", None, "ETag")},
        ("not_found", "precondition_failed", *DATABASE),
        parameters=CONDITIONS,
    ),
    ("user", "PUT"): operation(
        f"Replace a user. Send what GET returned without {READ_ONLY}.", CHANGED,
        CHANGE, parameters=CONDITIONS, body=NEW,
    ),
    ("user", "PATCH"): operation(
        "Change a part of a user (RFC 7396).", CHANGED,
        CHANGE, parameters=CONDITIONS, body={MERGE_PATCH: PATCH, JSON: PATCH},
    ),
    ("user", "DELETE"): operation(
        "Delete a user.", {204: response("It was deleted.")},
        ("not_found", *CONDITIONAL, *SAVING), parameters=CONDITIONS,
    ),
    ("users-import", "POST"): operation(
        f"Create many users, one a line: at most {ndjson.MAX_IMPORT_LINES:,} lines of at most "
        f"{MAX_BODY_BYTES:,} bytes. Sending it again skips existing users, so it "
        "takes no Idempotency-Key. Lines that were not reached before the deadline, or whose "
        "transaction failed, are reported as failed, with the cause: send them again. To import "
        f"a line of an export, remove {READ_ONLY} from it, and leave out the last line, next.",
        {200: ndjson_response(
            "A result for each line, then their summary. An invalid line has its first errors, "
            "as many as fit the response.", IMPORTED)},
        ("length_required", "too_large", "unsupported_media_type", *SAVING),
        body={NDJSON: {"type": "string", "minLength": 1}},
    ),
    ("users-export", "GET"): operation(
        "Many users, one a line; the last line is {\"next\": …}, null at the end. A response "
        "that would be too long ends early; one that fails has {\"error\": …} beside next.",
        {200: ndjson_response("The users.", {"next": "…"})},
        DATABASE, parameters=("export_limit", "cursor", *FILTERS),
    ),
}  # fmt: skip
