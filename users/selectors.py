"""Reads: one statement each, rows as plain dictionaries."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet, Value
from django.db.models.functions import Concat, Lower
from django.db.models.lookups import Exact, GreaterThanOrEqual, LessThan

from config.api.ndjson import read_pages
from config.api.pagination import Cursor, Order, Page, read_page
from config.dsql.prepared import Query
from config.dsql.slots import as_value
from users.models import User

FIELDS = ("id", "name", "email", "created_at", "updated_at")
Rows = QuerySet[User, dict[str, Any]]
CURSOR_SALT = "users.cursor"
# No name goes on behind its beginning with anything greater.
LAST_ENDING = "\U0010ffff" * 100
# Built once: composing a query costs more than copying it.
EVERY = User.objects.values(*FIELDS)
NEWEST = Order.build(
    "newest", ("created_at", "id"), EVERY,
    parse=datetime.fromisoformat, salt=CURSOR_SALT, descending=True,
)  # fmt: skip
BY_NAME = Order.build(
    "name", ("name_key", "id"), EVERY.annotate(name_key=Lower("name")),
    parse=str, salt=CURSOR_SALT,
)  # fmt: skip
ORDERS = {order.name: order for order in (NEWEST, BY_NAME)}


@dataclass(frozen=True, slots=True)
class Filters:
    """Which users: each filter is served by an index, so no page costs more than another."""

    email: str | None = None
    name_prefix: str | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None

    @property
    def order(self) -> Order:
        """The index that finds a prefix holds names; newest first would sort all of them."""
        return NEWEST if self.name_prefix is None else BY_NAME

    def apply(self, rows: Rows) -> Rows:
        if self.email is not None:
            rows = rows.filter(Exact(Lower("email"), Lower(as_value(self.email))))
        if self.name_prefix is not None:
            # The database's collation is C: a prefix is a range of code points.
            prefix = Lower(as_value(self.name_prefix))
            rows = rows.filter(
                GreaterThanOrEqual(Lower("name"), prefix),
                LessThan(Lower("name"), Concat(prefix, Value(LAST_ENDING))),
            )
        if self.created_from is not None:
            rows = rows.filter(created_at__gte=self.created_from)
        if self.created_to is not None:
            rows = rows.filter(created_at__lt=self.created_to)
        return rows


ALL = Filters()


BY_ID: Query[dict[str, Any]] = Query(lambda *, user_id: EVERY.filter(pk=user_id))


def user_get(*, user_id: uuid.UUID) -> dict[str, Any] | None:
    return BY_ID.first(user_id=user_id)


def user_list(
    *, limit: int, cursor: Cursor | None = None, filters: Filters = ALL
) -> Page:
    """Newest first, or by name under a name prefix.

    Raises Problem when the cursor comes from the other order.
    """
    return read_page(filters.order, filters, limit=limit, cursor=cursor)


def user_pages(
    *, limit: int, cursor: Cursor | None = None, filters: Filters = ALL
) -> Iterator[Page]:
    """Pages of ``limit`` users in all, in the order of the list."""

    def read(*, limit: int, cursor: Cursor | None) -> Page:
        return user_list(limit=limit, cursor=cursor, filters=filters)

    return read_pages(read, limit=limit, cursor=cursor)
