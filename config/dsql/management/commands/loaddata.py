"""``loaddata --commit-per-batch``: fixtures with more rows than a transaction takes."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.core.management.base import CommandParser
from django.core.management.commands import loaddata

from ...split import ROWS, split_transactions


class Command(loaddata.Command):
    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--commit-per-batch",
            nargs="?",
            type=int,
            const=ROWS,
            metavar="ROWS",
            help=f"Commit after so many rows (default {ROWS}). What was loaded before an "
            f"error stays; rows must come after those they refer to.",
        )

    def handle(self, *fixture_labels: str, **options: Any) -> None:
        rows = options["commit_per_batch"]
        split: AbstractContextManager[Any] = nullcontext()
        if rows is not None:
            progress = self._progress if options["verbosity"] else None
            split = split_transactions(
                options["database"], rows=rows, progress=progress
            )
        with split:
            super().handle(*fixture_labels, **options)

    def _progress(self, total: int) -> None:
        self.stderr.write(f"{total} rows committed")
