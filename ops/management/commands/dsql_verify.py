import json
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand

from ops.clusters.verify import OK, Check, Verifier
from ops.target import describe

MAX_ROUNDS = 10_000


def rounds(text: str) -> int:
    if text.isdigit() and 1 <= int(text) <= MAX_ROUNDS:
        return int(text)
    raise ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MAX_ROUNDS}")


class Command(BaseCommand):
    help = "Prove that a write in one Region is read in the other; exit 1 if not."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rounds", type=rounds, default=20, help="default: 20")
        parser.add_argument("--format", choices=("text", "json"), default="text")

    def handle(self, *args: Any, **options: Any) -> None:
        as_text = options["format"] == "text"
        endpoint = settings.DATABASES["default"]["HOST"]
        if not endpoint:
            raise ImproperlyConfigured(
                "DSQL_ENDPOINT is not set: run `make run` or `manage.py sandbox up`."
            )
        endpoints = [endpoint, settings.DSQL_PEER_ENDPOINT]
        if as_text:
            self.stdout.write(describe())
        verifier = Verifier(
            [host for host in endpoints if host],
            self._tell if as_text else lambda _: None,
        )
        try:
            report = verifier.run(options["rounds"])
        finally:
            verifier.close()
        if not as_text:
            self.stdout.write(json.dumps(report.as_json(), indent=2))
        elif found := report.replication:
            self.stdout.write(
                f"{found.rounds} writes, each read in the other Region at once: "
                f"{found.stale} stale; write p50 {found.write_ms['p50']} ms, p95 "
                f"{found.write_ms['p95']} ms; read p50 {found.read_ms['p50']} ms, p95 "
                f"{found.read_ms['p95']} ms"
            )
        if not report.ok:
            raise SystemExit(1)

    def _tell(self, check: Check) -> None:
        style = self.style.SUCCESS if check.outcome == OK else self.style.ERROR
        line = f"{check.outcome:<8} {check.target:<12} {check.name:<12}"
        self.stdout.write(
            f"{style(line)} {check.seconds * 1000:8.1f} ms  {check.reason}"
        )
        if check.hint:
            self.stdout.write(f"         {check.hint}")
