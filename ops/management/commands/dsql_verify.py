import json
import os
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from ops.clusters.api import api_urls
from ops.clusters.command import ClusterCommand, target
from ops.clusters.report import render
from ops.clusters.verify import (
    FAIL,
    NAMES,
    PASS,
    Check,
    Options,
    Verifier,
    counts,
)
from ops.management.commands.dsql_database import role_arn
from ops.topology import Topology

MAX_ROUNDS = 10_000


def rounds(text: str) -> int:
    if text.isdigit() and 1 <= int(text) <= MAX_ROUNDS:
        return int(text)
    raise ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MAX_ROUNDS}")


def names(text: str) -> frozenset[str]:
    chosen = frozenset(name.strip() for name in text.split(","))
    if unknown := sorted(chosen - set(NAMES)):
        raise ArgumentTypeError(
            f"no check is called {', '.join(unknown)}; there are {', '.join(NAMES)}"
        )
    return chosen


class Command(ClusterCommand):
    help = (
        "Check the clusters, both endpoints, and that a write in one Region is read in the "
        "other. Exits with 1 when a check fails."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--rounds",
            type=rounds,
            default=20,
            help="rounds of writes and reads (default: 20)",
        )
        parser.add_argument(
            "--only", type=names, default=frozenset(NAMES), metavar="CHECK,…",
            help=f"only these checks, of: {', '.join(NAMES)}",
        )  # fmt: skip
        parser.add_argument(
            "--role-arn", action="append", type=role_arn, default=[], metavar="ARN",
            help="IAM role that must be mapped to the runtime role (default: the stack's)",
        )  # fmt: skip
        parser.add_argument(
            "--api-url", action="append", default=[], metavar="ROLE=URL",
            help="URL of the API of a role; without it that API is not checked",
        )  # fmt: skip
        parser.add_argument(
            "--api-token", default=os.environ.get("API_TOKEN", ""), metavar="TOKEN",
            help="bearer token for the API (default: $API_TOKEN, which ps does not show)",
        )  # fmt: skip
        parser.add_argument(
            "--yes", action="store_true", help="do not ask before writing rows on AWS"
        )
        parser.add_argument(
            "--html",
            type=Path,
            metavar="FILE",
            help="also write the report as an HTML page",
        )

    def work(
        self,
        topology: Topology,
        *,
        rounds: int,
        only: frozenset[str],
        role_arn: list[str],
        api_url: list[str],
        api_token: str,
        html: Path | None,
        format: str,
        **_: Any,
    ) -> None:
        urls = api_urls(topology, api_url)
        options = Options(rounds, only, tuple(role_arn), urls, api_token)
        self.progress_printer(format)(target())
        verifier = Verifier(
            topology, options, self._print_check if format == "text" else _quiet
        )
        report = verifier.run()
        if html is not None:
            try:
                html.write_text(render(report, f"dsql_verify: {topology.prefix}"))
            except OSError as error:
                raise CommandError(f"--html {html}: {error}") from error
        if format == "json":
            self.stdout.write(json.dumps(report.as_json(), indent=2))
        else:
            self.stdout.write(", ".join(counts(report)))
        if not report.ok:
            raise SystemExit(1)

    def _print_check(self, check: Check) -> None:
        styles = {PASS: self.style.SUCCESS, FAIL: self.style.ERROR}
        style = styles.get(check.outcome, self.style.WARNING)
        line = f"{check.outcome}  {check.target:<14} {check.name:<16}"
        self.stdout.write(
            f"{style(line)} {check.seconds * 1000:8.1f} ms  {check.reason}".rstrip()
        )
        if check.hint:
            self.stdout.write(f"      {check.hint}")


def _quiet(_: Check) -> None:
    """Standard output is for the JSON."""
