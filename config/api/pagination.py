"""Pages of a list by keyset: found by the key of the row beside them, never by counting."""

import base64
import binascii
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol
from urllib.parse import urlencode

from django.core import signing
from django.db.models import QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan
from django.http import HttpResponse
from rest_framework.request import Request

from config.api.parameters import Parser, bad_parameter
from config.api.region import serving_region
from config.api.responses import encode, json_response
from config.dsql.prepared import Query
from config.dsql.slots import as_value

DEFAULT_LIMIT, MAX_LIMIT = 50, 100
MAX_CURSOR = 1000  # characters: beside its id it holds a name at most
Row = dict[str, Any]
Rows = QuerySet[Any, Row]


class Filters(Protocol):
    """Which rows a list has: a dataclass whose fields are values, None where there is none.

    Each filter is served by the index of the list's order.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def apply(self, rows: Rows) -> Rows:
        """The rows that pass. The values may be slots of a prepared query."""


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """A way through a list that one index walks.

    The second field of its key is ``id``. What the key has besides the rows' own fields is
    left out of the pages.
    """

    name: str
    key: tuple[str, str]
    parse: Callable[[str], Any]  # the first field of a key, as a cursor holds it
    descending: bool
    salt: str  # of the signatures of its cursors
    ascending_rows: Rows
    descending_rows: Rows
    hidden: tuple[str, ...]

    @classmethod
    def build(
        cls,
        name: str,
        key: tuple[str, str],
        rows: Rows,
        *,
        parse: Callable[[str], Any],
        salt: str,
        descending: bool = False,
    ) -> "Order":
        ascending = rows.order_by(*key)
        backwards = rows.order_by(*(f"-{field}" for field in key))
        hidden = tuple(field for field in key if field in rows.query.annotations)
        return cls(name, key, parse, descending, salt, ascending, backwards, hidden)


Orders = Mapping[str, Order]  # by name


class InvalidCursor(ValueError):
    """The cursor was not made by this API or was changed."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the list: the key of the row beside it and the direction of travel."""

    order: Order
    key: tuple[Any, ...]
    forward: bool

    def encode(self) -> str:
        fields = [self.order.name, *map(str, self.key), int(self.forward)]
        packed = base64.urlsafe_b64encode(encode(fields)).decode().rstrip("=")
        return signing.Signer(salt=self.order.salt).sign(packed).replace(":", ".")

    @classmethod
    def decode(cls, text: str, orders: Orders) -> "Cursor":
        """Raises InvalidCursor. The orders of one list have the same salt."""
        salt = next(iter(orders.values())).salt
        try:
            signed = ":".join(text.rsplit(".", 1))
            packed = signing.Signer(salt=salt).unsign(signed)
            raw = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
            name, first, key, forward = json.loads(raw)
            order = orders[name]
            return cls(order, (order.parse(first), uuid.UUID(key)), bool(forward))
        except (
            signing.BadSignature, binascii.Error, KeyError, TypeError, ValueError,
        ) as error:  # fmt: skip
            raise InvalidCursor from error

    def back(self) -> "Cursor":
        """The way back from where the list has ended: the row beside it, then those before.

        The next smaller or greater id lies beyond that row and before every other.
        """
        first, beside = self.key
        step = -1 if self.order.descending else 1
        key = (first, uuid.UUID(int=beside.int + step))
        return Cursor(self.order, key, forward=False)


@dataclass(frozen=True, slots=True)
class Page:
    rows: list[Row]
    next: Cursor | None
    previous: Cursor | None


def read_page(
    order: Order, filters: Filters, *, limit: int, cursor: Cursor | None = None
) -> Page:
    """The page beside the cursor; one row more than the limit shows whether more follow.

    Raises Problem when the cursor comes from another order.
    """
    forward = cursor is None or cursor.forward
    if cursor is not None and cursor.order is not order:
        raise bad_parameter("cursor", "Made for a list of another order.")
    first, beside = (None, None) if cursor is None else cursor.key
    found = _PAGE.rows(
        order=order,
        filters=type(filters),
        descending=order.descending == forward,
        limit=limit + 1,
        first=first,
        beside=beside,
        **{name: getattr(filters, name) for name in filters.__dataclass_fields__},
    )
    more, found = len(found) > limit, found[:limit]
    if not forward:
        if not found:  # the rows before this place are gone: here the list begins now
            return read_page(order, filters, limit=limit)
        found.reverse()
    return _page(order, found, cursor, more=more)


def _build_page(
    *,
    order: Order,
    filters: type[Filters],
    descending: bool,
    limit: int,
    first: Any,
    beside: Any,
    **values: Any,
) -> Rows:
    rows = order.descending_rows if descending else order.ascending_rows
    rows = filters(**values).apply(rows)
    if first is not None:
        compare = TupleLessThan if descending else TupleGreaterThan
        # The row form walks the index; the OR form filters it (100 ms at a million rows).
        rows = rows.filter(
            compare(Tuple(*order.key), (as_value(first), as_value(beside)))
        )
    return rows[:limit]


_PAGE: Query[Row] = Query(
    _build_page, constants=("order", "filters", "descending", "limit")
)


def _page(order: Order, rows: list[Row], cursor: Cursor | None, *, more: bool) -> Page:
    if not rows:
        return Page([], None, cursor.back() if cursor else None)
    forward = cursor is None or cursor.forward
    after, before = (
        Cursor(order, tuple(row[field] for field in order.key), forward=ahead)
        for row, ahead in ((rows[-1], True), (rows[0], False))
    )
    for row in rows if order.hidden else ():
        for field in order.hidden:
            del row[field]
    return Page(
        rows,
        after if (more if forward else True) else None,
        before if (cursor is not None if forward else more) else None,
    )


def page_url(request: Request, cursor: Cursor | None) -> str | None:
    """The same list at another place; a path, so that it holds in either Region."""
    if cursor is None:
        return None
    query = {**request.query_params.dict(), "cursor": cursor.encode()}
    return f"{request.path}?{urlencode(query)}"


def page_response(request: Request, name: str, page: Page) -> HttpResponse:
    """The rows under the resource's name, with links to the next and the previous page."""
    after, before = page_url(request, page.next), page_url(request, page.previous)
    links = ((after, "next"), (before, "prev"))
    link = ", ".join(f'<{url}>; rel="{relation}"' for url, relation in links if url)
    content = {
        name: page.rows,
        "count": len(page.rows),
        "region": serving_region(),
        "next": after,
        "previous": before,
    }
    return json_response(content, headers={"Link": link} if link else None)


def build_parameters(orders: Orders, *, most: int = MAX_LIMIT) -> dict[str, Parser]:
    """The query parameters ``limit``, up to so much, and ``cursor``."""

    def parse_limit(text: str) -> int:
        digits = text.isascii() and text.isdigit() and len(text) <= len(str(most))
        if not (digits and 1 <= int(text) <= most):
            raise bad_parameter("limit", f"Must be a whole number from 1 to {most}.")
        return int(text)

    def parse_cursor(text: str) -> Cursor:
        try:
            if len(text) <= MAX_CURSOR:
                return Cursor.decode(text, orders)
        except InvalidCursor:
            pass
        raise bad_parameter(
            "cursor", "Not a cursor of this API; follow next or previous."
        )

    return {"limit": parse_limit, "cursor": parse_cursor}
