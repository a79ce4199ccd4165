"""``migrate`` that goes on after a conflict with another session's change (40001)."""

from typing import Any

from django.core.management.commands import migrate

from config.dsql.retry import repeat


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        # A repeated run continues where the conflict ended it; see schema.py.
        repeat(
            lambda: super(Command, self).handle(*args, **options), on_retry=self._say
        )

    def _say(self, attempt: int, delay: float, error: BaseException) -> None:
        self.stderr.write(f"Conflict, continuing: {str(error).splitlines()[0]}")
