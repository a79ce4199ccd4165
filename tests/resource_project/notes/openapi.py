from config.api.openapi import (
    BODY,
    CONDITIONAL,
    CONDITIONS,
    DATABASE,
    JSON,
    KEYED,
    MERGE_PATCH,
    MOMENT,
    SAVING,
    TEXT,
    UUID,
    Schema,
    closed,
    operation,
    page,
    path_key,
    query,
    ref,
    response,
)

GIVEN = {"title": TEXT, "text": TEXT}
NOTE = ref("schemas", "Note")
PARAMETERS: dict[str, Schema] = {
    "note_id": path_key("note_id"),
    "title": query("title", TEXT, "The note with this title."),
}
SCHEMAS: dict[str, Schema] = {
    "Note": closed(
        {
            "id": UUID,
            **GIVEN,
            "created_at": MOMENT,
            "updated_at": MOMENT,
            "region": TEXT,
        }
    ),
    "NoteInput": {"type": "object", "properties": GIVEN},
    "NotePage": page("notes", NOTE),
}
OPERATIONS: dict[tuple[str, str], Schema] = {
    ("notes", "GET"): operation(
        "A page of notes, oldest first.",
        {200: response("The page.", ref("schemas", "NotePage"), "Link")},
        DATABASE, parameters=("limit", "cursor", "title"),
    ),
    ("notes", "POST"): operation(
        "Create a note.", {201: response("The note.", NOTE, "ETag", "Location")},
        (*BODY, "title_taken", *KEYED, *SAVING),
        parameters=("Idempotency-Key",), body={JSON: ref("schemas", "NoteInput")},
    ),
    ("note", "GET"): operation(
        "A note.", {200: response("The note.", NOTE, "ETag")},
        ("not_found", *DATABASE), parameters=CONDITIONS,
    ),
    ("note", "PATCH"): operation(
        "Change a note.", {200: response("The note as it is now.", NOTE, "ETag")},
        (*BODY, "not_found", "title_taken", *CONDITIONAL, *SAVING),
        parameters=CONDITIONS, body={MERGE_PATCH: ref("schemas", "NoteInput")},
    ),
    ("note", "DELETE"): operation(
        "Delete a note.", {204: response("It was deleted.")},
        ("not_found", *CONDITIONAL, *SAVING), parameters=CONDITIONS,
    ),
}  # fmt: skip
