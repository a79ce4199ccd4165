"""``clearsessions`` for more expired sessions than a transaction can delete."""

from typing import Any

from django.contrib.sessions.management.commands import clearsessions
from django.db import router

from ...split import split_transactions


class Command(clearsessions.Command):
    def handle(self, **options: Any) -> None:
        from django.contrib.sessions.models import Session

        with split_transactions(router.db_for_write(Session)):
            super().handle(**options)
