import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from config.api.pagination import Cursor, Order, Page, Rows, read_page
from tests.resource_project.notes.models import Note

FIELDS = ("id", "title", "text", "created_at", "updated_at")
EVERY = Note.objects.values(*FIELDS)
OLDEST = Order.build(
    "oldest", ("created_at", "id"), EVERY,
    parse=datetime.fromisoformat, salt="notes.cursor",
)  # fmt: skip
ORDERS = {OLDEST.name: OLDEST}


@dataclass(frozen=True, slots=True)
class Filters:
    title: str | None = None

    def apply(self, rows: Rows) -> Rows:
        return rows if self.title is None else rows.filter(title=self.title)


def note_get(*, note_id: uuid.UUID) -> dict[str, Any] | None:
    return next(iter(EVERY.filter(pk=note_id)), None)


def note_list(*, limit: int, cursor: Cursor | None, filters: Filters) -> Page:
    return read_page(OLDEST, filters, limit=limit, cursor=cursor)
