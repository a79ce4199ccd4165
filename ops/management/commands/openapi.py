from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config.api.pages import CONTRACT
from ops import contract


class Command(BaseCommand):
    help = "Write the API's contract (OpenAPI 3.1) from the code, or check it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="exit 1 if the file is not current"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if contract.is_current():
            self.stdout.write(f"{CONTRACT.name} is current.")
        elif options["check"]:
            raise CommandError(
                f"{CONTRACT.name} is not what the code says: run manage.py openapi."
            )
        else:
            contract.write()
            self.stdout.write(f"Wrote {CONTRACT}.")
