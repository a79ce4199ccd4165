from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from config.api import idempotency


class Command(BaseCommand):
    help = "Delete the stored answers to Idempotency-Keys older than 24 hours."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--format", choices=("text", "json"), default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        swept = idempotency.sweep()
        if options["format"] == "json":
            self.stdout.write(f'{{"swept": {swept}}}')
        else:
            self.stdout.write(f"Swept {swept} stored answers.")
