import uuid
from typing import Any

from django.http import HttpResponse

from config.api.conditions import Conditions
from config.api.idempotency import Attempt, insert_row
from config.api.problems import Problem
from config.api.resources import delete_row, refuse_duplicate, update_row
from tests.resource_project.notes.models import Note
from tests.resource_project.notes.selectors import FIELDS

TITLE_CONSTRAINT = "notes_note_title_unique"


class TitleTaken(Problem):
    def __init__(self) -> None:
        super().__init__("title_taken", "Another note has this title.")


def note_create(
    note: Note, response: HttpResponse, attempt: Attempt | None
) -> HttpResponse:
    with refuse_duplicate(TITLE_CONSTRAINT, TitleTaken):
        return insert_row(note, response, attempt)


def note_update(
    *, note_id: uuid.UUID, conditions: Conditions, **values: str
) -> dict[str, Any] | None:
    with refuse_duplicate(TITLE_CONSTRAINT, TitleTaken):
        return update_row(Note, note_id, values, fields=FIELDS, conditions=conditions)


def note_delete(*, note_id: uuid.UUID, conditions: Conditions) -> bool:
    return delete_row(Note, note_id, conditions)
