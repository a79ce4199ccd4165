import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops.aws import AwsError
from ops.deploy import rotation
from ops.deploy.found import clusters
from ops.deploy.options import ZAPPA_SETTINGS, uses_vpc
from ops.ownership import NotReady
from ops.prompt import ask
from ops.stacks.boundary import Boundary
from ops.stacks.log_role import LogRole
from ops.stacks.runtime import Plan, RuntimeStack, StackError
from ops.stacks.secret import SecretMissing
from ops.topology import ROLES, Topology

FORMAT = {"choices": ("text", "json"), "default": "text"}


class Command(BaseCommand):
    help = "What Zappa does not make: role, logs, bucket, secret key (CloudFormation)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        for name, text in (
            ("plan", "say what would change, and change none of it"),
            ("deploy", "make or change it; safe to run again"),
            ("delete", "delete it with its logs and its bucket"),
            ("status", "its state and what it made"),
        ):
            action = actions.add_parser(name, help=text)
            action.add_argument("--stage", choices=ROLES, required=True)
            action.add_argument("--format", **FORMAT)  # type: ignore[arg-type] # typed per keyword
            if name in {"plan", "deploy"}:
                action.add_argument(
                    "-s", "--settings-file", type=Path, default=ZAPPA_SETTINGS,
                    help="Zappa's settings, as for zappa -s; its vpc_config decides what the "
                    "role may do (default: zappa_settings.json)",
                )  # fmt: skip
            if name == "delete":
                action.add_argument("--yes", action="store_true", help="do not ask")
        rotate = actions.add_parser(
            "rotate-key",
            help="replace Django's secret key in both Regions while they serve",
        )
        rotate.add_argument("--format", **FORMAT)  # type: ignore[arg-type] # typed per keyword

    def handle(self, *args: Any, action: str, format: str, **options: Any) -> None:
        self.as_json = format == "json"
        topology = Topology.from_environment()
        try:
            if action == "rotate-key":
                self.rotate_key(topology)
            else:
                stack = RuntimeStack(topology, options["stage"])
                getattr(self, action)(stack, **options)
        except (AwsError, NotReady, SecretMissing, StackError) as error:
            raise CommandError(str(error)) from error

    def plan(self, stack: RuntimeStack, *, settings_file: Path, **_: Any) -> None:
        log_role = LogRole(stack.topology, stack.stage)
        pending = Boundary(stack.topology).pending(), log_role.pending()
        plan = self._plan(stack, settings_file)
        stack.discard(plan)
        self._show(stack, plan, *pending)

    def deploy(self, stack: RuntimeStack, *, settings_file: Path, **_: Any) -> None:
        boundary = Boundary(stack.topology)
        log_role = LogRole(stack.topology, stack.stage)
        pending = boundary.pending(), log_role.pending()
        stack.clear(self._say)
        plan = self._plan(stack, settings_file)
        if not self.as_json:
            self._show(stack, plan, *pending)
        boundary.apply(self._say)
        stack.apply(plan, self._say)
        log_role.apply(self._say)
        self.status(stack)

    def delete(self, stack: RuntimeStack, *, yes: bool, **_: Any) -> None:
        boundary = self._unneeded_boundary(stack)
        contents = [*stack.contents(), *(boundary.contents() if boundary else [])]
        for line in contents:
            self._say(line)
        if not yes and contents:
            question = f"This deletes all of that. Type {stack.name} to go on: "
            if ask(question) != stack.name:
                raise CommandError("Nothing was deleted.")
        deleted = stack.delete(self._say)
        LogRole(stack.topology, stack.stage).delete(self._say)
        if boundary:
            boundary.delete(self._say)
        if self.as_json:
            self._write({"stack": stack.name, "deleted": deleted})
        else:
            self._say(f"{stack.name} is {'deleted' if deleted else 'not there'}.")

    def _unneeded_boundary(self, stack: RuntimeStack) -> Boundary | None:
        """The boundary, unless the other Region's role has it."""
        other = stack.topology.peer_of(stack.stage)
        if RuntimeStack(stack.topology, other).status() is not None:
            return None
        return Boundary(stack.topology)

    def status(self, stack: RuntimeStack, **_: Any) -> None:
        found = {
            "stack": stack.name,
            "region": stack.region,
            "status": stack.status(),
            "outputs": stack.outputs() or {},
        }
        if self.as_json:
            self._write(found)
            return
        self._say(f"{stack.region}: {stack.name} is {found['status'] or 'not there'}")
        for name, value in sorted((stack.outputs() or {}).items()):
            self._say(f"  {name:<14} {value}")

    def rotate_key(self, topology: Topology) -> None:
        rotation.rotate(topology, self._say)
        if self.as_json:
            self._write({"rotated": True})

    def _plan(self, stack: RuntimeStack, settings_file: Path) -> Plan:
        in_vpc = uses_vpc(stack.stage, settings_file)
        arns = {role: found.arn for role, found in clusters(stack.topology).items()}
        return stack.plan(arns, in_vpc=in_vpc, say=self._say)

    def _show(self, stack: RuntimeStack, plan: Plan, *beside: str | None) -> None:
        lines = [*filter(None, beside), *map(str, plan.changes)]
        if self.as_json:
            self._write({"stack": plan.stack, "changes": lines})
            return
        if plan.waits and not plan.changes:
            self._say(f"{stack.region}: change {plan.stack}, none of its resources")
        elif not lines:
            self._say(f"{stack.region}: {plan.stack} is as it should be.")
        for line in lines:
            self._say(f"{stack.region}: {line}")

    def _say(self, text: str) -> None:
        if not self.as_json:
            self.stdout.write(text)

    def _write(self, content: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(content, indent=2, sort_keys=True))
