from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops import contract


class Command(BaseCommand):
    help = "Write the API's contract (OpenAPI 3.1) and its page from the code."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="exit 1 if the file is not current"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        stale = [path.name for path in contract.stale()]
        if not stale:
            self.stdout.write("The contract and its page are current.")
        elif options["check"]:
            raise CommandError(
                f"Not what the code says: {', '.join(stale)}; run manage.py openapi."
            )
        else:
            contract.write()
            self.stdout.write(f"Wrote {', '.join(stale)}.")
