from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand

from config.api.access import SCOPES
from ops.local.issuer import PORT, Issuer
from ops.local.ports import port_number
from ops.paths import ISSUER_KEY

MAX_MINUTES = 24 * 60


def minutes(text: str) -> int:
    if text.isdigit() and 1 <= int(text) <= MAX_MINUTES:
        return int(text)
    raise ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MAX_MINUTES}")


class Command(BaseCommand):
    help = (
        "Print an access token of the development issuer, which `manage.py run "
        "--auth oidc` serves; no other deployment accepts it."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--scope",
            nargs="+",
            choices=SCOPES,
            default=list(SCOPES),
            help="scopes of the token (default: all)",
        )
        parser.add_argument(
            "--subject",
            default="developer",
            help="subject of the token (default: developer)",
        )
        parser.add_argument(
            "--minutes",
            type=minutes,
            default=60,
            help="minutes until the token expires (default: 60)",
        )
        parser.add_argument(
            "--port",
            type=port_number,
            default=PORT,
            help=f"port of the development issuer (default: {PORT})",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        issuer = Issuer.load(ISSUER_KEY, options["port"])
        token = issuer.token(
            subject=options["subject"],
            scopes=options["scope"],
            minutes=options["minutes"],
        )
        self.stdout.write(token)
