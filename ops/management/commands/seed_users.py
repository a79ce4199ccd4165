import json
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from config.api.bulk_import import BATCH_ROWS
from config.api.problem_types import PROBLEM_TYPES
from config.api.problems import (
    is_database_state,
    problem_from_database_error,
)
from ops.sample_users import SAMPLE, sample_lines
from users.services import users_import

MAX_USERS = 1_000_000
PROGRESS_ROWS = 10 * BATCH_ROWS


def count(text: str) -> int:
    if text.isdigit() and 1 <= int(text) <= MAX_USERS:
        return int(text)
    raise ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MAX_USERS}")


class Command(BaseCommand):
    help = "Insert sample users; existing ones are skipped."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--count", type=count, default=len(SAMPLE), help="default: 5"
        )
        parser.add_argument("--format", choices=("text", "json"), default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        summary: dict[str, int] = {}
        causes: set[str] = set()
        try:
            for result in users_import(sample_lines(options["count"])):
                summary = result.get("summary", summary)
                causes |= {result["cause"]} if "cause" in result else set()
                if result.get("line", 0) % PROGRESS_ROWS == 0 and "line" in result:
                    self.stderr.write(f"{result['line']} of {options['count']} ...")
        except Error as error:
            if not is_database_state(error):
                raise
            meaning = PROBLEM_TYPES[problem_from_database_error(error).code].meaning
            raise CommandError(f"{meaning} Run it again.") from error
        counts = {
            name: summary.get(name, 0) for name in ("created", "exists", "failed")
        }
        if options["format"] == "json":
            self.stdout.write(json.dumps(counts))
        else:
            self.stdout.write(
                f"{counts['created']} created, {counts['exists']} existing."
            )
        if counts["failed"]:
            raise CommandError(
                f"{counts['failed']} failed ({', '.join(sorted(causes))}). Run it again."
            )
