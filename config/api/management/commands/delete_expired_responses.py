from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from config.api import idempotency


class Command(BaseCommand):
    help = (
        "Delete the stored responses to Idempotency-Keys that are older than 24 hours."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=("text", "json"), default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        deleted = idempotency.delete_expired()
        if options["format"] == "json":
            self.stdout.write(f'{{"deleted": {deleted}}}')
        else:
            self.stdout.write(f"Deleted {deleted} expired responses.")
