"""Idempotency-Key: a POST that can be repeated, in either Region, and is done once.

The response is stored with the row that it is about, in one transaction, so that neither
ever exists without the other: IETF draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import InterfaceError, OperationalError
from django.db.models import Exists, Model, OuterRef, QuerySet
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request

from config.api.access import get_caller
from config.api.models import StoredResponse
from config.api.problems import RETRY_AFTER_SECONDS, Problem
from config.dsql.conflicts import OutcomeUnknown, constraints, sqlstates
from config.dsql.deadlines import time_left
from config.dsql.prepared import Changes, Update
from config.dsql.retry import ConflictRetriesExhausted
from config.dsql.writes import insert_rows

RETENTION = timedelta(hours=24)
DELETED_ROWS = 1000  # per transaction, which takes 3,000
BATCH_SECONDS = 2.0  # for one more of these
GONE = 410  # the status of a response that was erased
# No comma: it joins the values of a header that was sent more than once.
KEY = re.compile(r"[!-+\--~]{1,255}")
UNIQUE_VIOLATION = "23505"
PRIMARY_KEY = f"{StoredResponse._meta.db_table}_pkey"  # noqa: SLF001 - Django's documented Meta API


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request that must be done once: whose and which it is, and what it would do."""

    id: uuid.UUID
    fingerprint: str
    mount: str  # where the caller sees the API: a stage, a base path
    path: str  # inside of it

    def insert_once(self, row: Model, response: HttpResponse) -> HttpResponse:
        """Insert the row together with the response to its creation, or replay a stored one.

        The response is the given one where the row was inserted. A fresh request pays no
        extra round trip: the primary key finds a repeat.
        """
        rows = [row, self._record(response, row.pk)]
        try:
            with suppress(OutcomeUnknown):
                return self._insert_or_replay(rows, response)
            # Outside of the handler: what fails now is judged without what failed before.
            return self._insert_again(rows, response)
        except ConflictRetriesExhausted as error:
            raise Problem(
                "idempotency_conflict",
                "Another request with this Idempotency-Key is under way. Repeat it.",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            ) from error

    def _record(self, response: HttpResponse, resource: uuid.UUID) -> StoredResponse:
        return StoredResponse(
            id=self.id,
            fingerprint=self.fingerprint,
            status=response.status_code,
            headers=json.dumps(dict(response.headers)),
            body=response.content.decode(),
            created_at=timezone.now(),
            resource=resource,
        )

    def _insert_again(
        self, rows: Sequence[Model], response: HttpResponse
    ) -> HttpResponse:
        """The connection was lost at COMMIT: by the key a repeat finds the outcome.

        Raises OutcomeUnknown when the repeat fails too, whatever the outcome is.
        """
        with _leaving_doubt():
            return self._insert_or_replay(rows, response)

    def _insert_or_replay(
        self, rows: Sequence[Model], response: HttpResponse
    ) -> HttpResponse:
        try:
            insert_rows(rows)
        except Exception as error:
            if UNIQUE_VIOLATION not in sqlstates(error):
                raise
            found = StoredResponse.objects.filter(pk=self.id)
            with _leaving_doubt():  # an attempt before this one may have been committed
                stored = next(iter(found), None)
            # The row in the way was not the key's, but one that conflicts with the new row.
            if stored is None and PRIMARY_KEY not in constraints(error):
                raise
        else:
            return response
        if stored is None:  # it had expired, and a repeat elsewhere has deleted it
            return self._insert_or_replay(rows, response)
        if stored.created_at > timezone.now() - RETENTION:
            return self._replay(stored)
        _delete(found.filter(created_at=stored.created_at))
        # A repeat elsewhere may be faster: what it stored is new, and replayed.
        return self._insert_or_replay(rows, response)

    def _replay(self, stored: StoredResponse) -> HttpResponse:
        if stored.status == GONE:
            raise Problem(
                "gone",
                "This Idempotency-Key's request was done, and what it created has been "
                "deleted since.",
            )
        if stored.fingerprint != self.fingerprint:
            raise Problem(
                "idempotency_key_reused",
                "This Idempotency-Key was used for another request; use a new one.",
            )
        headers = {**json.loads(stored.headers), "Idempotency-Replayed": "true"}
        # The path was the same, but the first one may have come by another mount.
        _, path, below = headers.get("Location", "").rpartition(self.path)
        if path:
            headers["Location"] = f"{self.mount}{path}{below}"
        return HttpResponse(stored.body, status=stored.status, headers=headers)


def insert_row(
    row: Model, response: HttpResponse, attempt: Attempt | None
) -> HttpResponse:
    """Insert the row, with a key only once; the response to send."""
    if attempt is not None:
        return attempt.insert_once(row, response)
    insert_rows([row])
    return response


@contextmanager
def _leaving_doubt() -> Iterator[None]:
    """Inside, a database that cannot be reached does not prove that nothing was done."""
    try:
        yield
    except ConflictRetriesExhausted:
        raise
    except (OperationalError, InterfaceError) as error:
        raise OutcomeUnknown(f"It could not be looked up: {error}") from error


def parse_attempt(request: Request) -> Attempt | None:
    """None without the header. Raises Problem when the key is malformed."""
    key = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is None:
        return None
    if not KEY.fullmatch(key):
        raise Problem(
            "malformed",
            "Idempotency-Key must be sent once: 1 to 255 visible ASCII characters without a "
            "comma, such as a UUID.",
        )
    content = {
        "method": request.method,
        "path": request.path_info,
        "body": request.data,
    }
    return Attempt(
        uuid.UUID(_digest({"caller": get_caller(request).id, "key": key})[:32]),
        _digest(content),
        mount=request.path.removesuffix(request.path_info),
        path=request.path_info,
    )


def delete_expired() -> int:
    """Delete the expired responses in batches; returns how many.

    It ends between two batches where the time of the work under way ends.
    """
    old = StoredResponse.objects.filter(created_at__lt=timezone.now() - RETENTION)
    ids = old.order_by("created_at").values_list("pk", flat=True)[:DELETED_ROWS]
    deleted = 0
    while time_left() > BATCH_SECONDS and (batch := list(ids.all())):
        deleted += _delete(StoredResponse.objects.filter(pk__in=batch))
    return deleted


def _build_erasure(*, model: type[Model], key: Any) -> Changes:
    row = model._default_manager.filter(pk=OuterRef("resource"))  # noqa: SLF001 - Django's documented API
    return Changes(
        StoredResponse.objects.filter(~Exists(row), resource=key),
        {"status": GONE, "fingerprint": "", "headers": "{}", "body": ""},
    )


# Erases the stored response about a row that does not exist. To be sent after the row's
# deletion, as one query with it, which is one transaction: no replay in any Region shows
# what the row held once the deletion is committed. The record stays, or a late repeat would
# create the row again.
ERASURE = Update(_build_erasure, constants=("model",))


def _delete(rows: QuerySet[StoredResponse]) -> int:
    # delete() would open a transaction: two round trips more.
    return rows._raw_delete("default")  # noqa: SLF001


def _digest(content: Mapping[str, object]) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
