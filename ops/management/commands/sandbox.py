import json
from argparse import ArgumentParser, BooleanOptionalAction, RawDescriptionHelpFormatter
from contextlib import suppress
from dataclasses import fields
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops import target_file
from ops.local import envfile, run_lock
from ops.local.ports import port_number
from ops.local.run_lock import AlreadyRunning
from ops.local.sandbox import faults, lifecycle
from ops.local.sandbox.clusters import REGIONS
from ops.local.sandbox.fault_control import FaultClient
from ops.local.sandbox.faults import Fault, FaultError
from ops.local.sandbox.lifecycle import SandboxError, Status
from ops.local.sandbox.postgres import PostgresError
from ops.local.sandbox.rules.assumptions import ASSUMPTIONS
from ops.paths import ENV_FILE, SANDBOX
from ops.prompt import agreed
from ops.sandbox_status import StateError
from ops.topology import ROLES, Topology

JOB_DELAY = "how long an index build or validation waits before it begins"

DURABLE = (
    "whether commits outlive a crash of PostgreSQL; --no-durable saves tests the waiting "
    "for the disk (default: as before, at first --durable)"
)

ASSUME = (
    "what holds where sources differ, else the stricter; repeat it for several, 'none' "
    "takes all back (default: as before, at first none)"
)


class Command(BaseCommand):
    help = "Two Regions of Aurora DSQL on this machine: up, down, status, reset, env, fault."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        up = actions.add_parser(
            "up",
            help="start it, or find it running",
            formatter_class=RawDescriptionHelpFormatter,
            epilog="\n".join(f"{k:<26}{about}" for k, about in ASSUMPTIONS.items()),
        )
        up.add_argument(
            "--port", type=port_number, default=0, help="default: the one it has"
        )
        up.add_argument("--job-delay", type=float, metavar="SECONDS", help=JOB_DELAY)
        up.add_argument(
            "--durable", action=BooleanOptionalAction, default=None, help=DURABLE
        )
        up.add_argument(
            "--assume",
            action="append",
            choices=("none", *sorted(ASSUMPTIONS)),
            metavar="NAME",
            help=ASSUME,
        )
        up.add_argument("--format", choices=("text", "json"), default="text")
        actions.add_parser("down", help="stop it; the data stay")
        status = actions.add_parser("status", help="where it is and how to reach it")
        status.add_argument("--format", choices=("text", "json"), default="text")
        reset = actions.add_parser("reset", help="stop it and delete all its data")
        reset.add_argument("--yes", action="store_true", help="do not ask")
        env = actions.add_parser("env", help="print the variables that select it")
        env.add_argument("--role", choices=ROLES, default="primary")
        fault = actions.add_parser("fault", help="inject faults: add, list, clear")
        self._add_fault_arguments(fault)

    @staticmethod
    def _add_fault_arguments(parser: ArgumentParser) -> None:
        orders = parser.add_subparsers(dest="order", required=True)
        add = orders.add_parser(
            "add",
            help="put a fault in force until it is cleared or the sandbox stops",
            formatter_class=RawDescriptionHelpFormatter,
            epilog="\n".join(f"{k:<22}{about}" for k, about in faults.KINDS.items()),
        )
        add.add_argument("kind", choices=tuple(faults.KINDS), metavar="KIND")
        add.add_argument("--region", default="", help="a Region or role; default: both")
        add.add_argument(
            "--client", default="", help="only this application_name, or API action"
        )
        add.add_argument("--times", type=int, help="how often; default: until cleared")
        add.add_argument(
            "--rate", type=float, default=1.0, help="probability each time"
        )
        add.add_argument("--seconds", type=float, default=0.0)
        add.add_argument("--statement", type=int, help="the n-th of each connection")
        add.add_argument("--seed", type=int, default=0, help="of --rate; default: 0")
        shown = orders.add_parser("list", help="what is in force, and what it struck")
        clear = orders.add_parser("clear", help="lift one fault, or all")
        clear.add_argument("number", type=int, nargs="?")
        for order in (add, shown, clear):
            order.add_argument("--format", choices=("text", "json"), default="text")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        try:
            getattr(self, action)(**options)
        except (
            AlreadyRunning, FaultError, PostgresError, SandboxError, StateError
        ) as error:  # fmt: skip
            raise CommandError(str(error)) from error

    def up(
        self,
        *,
        port: int,
        job_delay: float | None,
        durable: bool | None,
        assume: list[str] | None,
        format: str,
        **_: Any,
    ) -> None:
        self._say(format, f"Starting the sandbox in {SANDBOX} ...")
        with suppress(AlreadyRunning):  # then it stops with that run
            run_lock.release(SANDBOX)
        status = lifecycle.up(
            SANDBOX,
            topology=None,
            port=port,
            job_delay=job_delay,
            durable=durable,
            assume=None if assume is None else {*assume} - {"none"},
            prefix=Topology.from_environment().prefix,
        )
        self._say(format, envfile.ensure(ENV_FILE, status))
        self._show(status, format)

    def down(self, **_: Any) -> None:
        run_lock.release(SANDBOX)
        stopped = lifecycle.down(SANDBOX)
        self.stdout.write(
            "Stopped; the data stay." if stopped else "It was not running."
        )

    def status(self, *, format: str, **_: Any) -> None:
        self._show(lifecycle.status(SANDBOX), format)

    def reset(self, *, yes: bool, **_: Any) -> None:
        # No look at its state: one that cannot be read is to be deleted too.
        question = f"Delete the sandbox in {SANDBOX} and all its data? [y/N] "
        there = (SANDBOX / "sandbox.json").exists()
        if there and not yes and not agreed(question):
            raise CommandError("Nothing was deleted.")
        run_lock.release(SANDBOX)
        removed = lifecycle.reset(SANDBOX)
        self.stdout.write("Deleted the sandbox." if removed else "There is no sandbox.")
        if envfile.remove(ENV_FILE):
            self.stdout.write(f"Removed {ENV_FILE.name}, which pointed at it.")

    def env(self, *, role: str, **_: Any) -> None:
        found = lifecycle.status(SANDBOX)
        if found.state == "absent":
            raise CommandError("There is no sandbox: run `manage.py sandbox up`.")
        self.stdout.write(target_file.render(envfile.variables(found, role)), ending="")

    def fault(self, *, order: str, format: str, **options: Any) -> None:
        switch = FaultClient(SANDBOX)
        if order == "add":
            wish = {field.name: options[field.name] for field in fields(Fault)}
            wish["region"] = self._region(options["region"])
            found: Any = [switch.add(**wish)]
        elif order == "clear":
            found = {"cleared": switch.clear(options["number"])}
        else:
            found = switch.list()
        if format == "json":
            self.stdout.write(json.dumps(found, indent=2))
        elif order == "clear":
            self.stdout.write(f"Cleared {found['cleared']}.")
        else:
            self._show_faults(found)

    @staticmethod
    def _region(name: str) -> str:
        regions = lifecycle.status(SANDBOX).regions
        if name in REGIONS:
            return name
        found = next((r.region for r in regions if name in {r.role, r.region}), None)
        if name and found is None:
            known = ", ".join(f"{r.role} ({r.region})" for r in regions)
            raise CommandError(f"There is no Region {name!r}; there are: {known}.")
        return found or ""

    def _show_faults(self, found: list[dict[str, Any]]) -> None:
        for fault in found:
            words = " ".join(
                f"{field.name}={fault[field.name]}"
                for field in fields(Fault)
                if field.name not in {"kind", "region"}
                and fault[field.name] != field.default
            )
            self.stdout.write(
                f"{fault['number']:>4} {fault['kind']:<22} "
                f"{fault['region'] or 'both Regions':<14} struck {fault['struck']} {words}"
            )
        if not found:
            self.stdout.write("No fault is in force.")

    def _say(self, style: str, text: str) -> None:
        """Progress goes where it does not disturb a program that reads the JSON."""
        (self.stderr if style == "json" else self.stdout).write(text)

    def _show(self, status: Status, style: str) -> None:
        if style == "json":
            self.stdout.write(json.dumps(lifecycle.describe(status), indent=2))
            return
        self.stdout.write(f"state      {status.state}")
        for region in status.regions:
            self.stdout.write(
                f"{region.role:<10} {region.region:<10} {region.endpoint}"
            )
        if status.state == "running" and not status.regions:
            self.stdout.write("clusters   none yet: manage.py dsql_provision")
        if status.state != "absent":
            self.stdout.write(f"listens    {lifecycle.HOST}:{status.port}")
            self.stdout.write(f"CA         {status.sslrootcert}")
            self.stdout.write(f"data       {lifecycle.data_directory(status)}")
            self.stdout.write(f"assumes    {', '.join(status.assume) or 'nothing'}")
