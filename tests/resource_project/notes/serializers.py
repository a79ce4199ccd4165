from typing import Any

from config.api.fields import CONTROL, CONTROLS, StrictSerializer, Text
from tests.resource_project.notes.selectors import FIELDS


def find_fault(text: str) -> str:
    if not 1 <= len(text) <= 100:
        return "Must be 1 to 100 characters."
    return CONTROLS if CONTROL.search(text) else ""


class NoteInput(StrictSerializer):
    in_responses = FIELDS
    title = Text(find_fault, max_length=100)
    text = Text(find_fault, max_length=100)


def validate_note(data: Any, *, partial: bool = False) -> dict[str, Any]:
    return dict(NoteInput(partial=partial).run_validation(data))
