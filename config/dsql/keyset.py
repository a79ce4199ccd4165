"""Large result sets, page by page: DSQL has no server-side cursors.

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

    Each page is a query of its own, so an export takes no transaction beyond DSQL's five
    minutes, and rows that change meanwhile are seen as they are when their page is read.
    An object is yielded once also where a filter's join finds it more than once. Raises
    TypeError for a sliced or ordered queryset or one of ``values()``.
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
