"""Read large tables page by page: DSQL has no server-side cursors.

``QuerySet.iterator()`` works, but the driver fetches the whole result before the first
row is yielded.
"""

from collections.abc import Iterator
from typing import TypeVar

from django.db.models import Model, QuerySet

Row = TypeVar("Row", bound=Model)
PAGE = 2000  # rows


def by_key(queryset: QuerySet[Row], *, page: int = PAGE) -> Iterator[Row]:
    """Yield every object once, by primary key, with one page in memory at a time.

    Each page is a query of its own, so an export needs no transaction longer than DSQL's
    five minutes, and a row that changes meanwhile is seen as it is when its page is read.
    An object is yielded once even if a filter's join finds it several times. Raises
    TypeError for a sliced, ordered or distinct queryset and for ``values()``.
    """
    if queryset.query.is_sliced or queryset.query.order_by or queryset.query.distinct:
        raise TypeError("by_key() takes a queryset without order, slice and distinct.")
    pages, last = queryset.order_by("pk"), None
    while True:
        found = list((pages if last is None else pages.filter(pk__gt=last))[:page])
        for row in found:
            if not isinstance(row, Model):
                raise TypeError(
                    "by_key() takes a queryset of objects, not of values()."
                )
            if row.pk != last:
                yield row
            last = row.pk
        if len(found) < page:
            return
