import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops.aws import AwsError
from ops.deploy import rotation
from ops.deploy.clusters import require_clusters
from ops.deploy.options import ZAPPA_SETTINGS, uses_vpc
from ops.ownership import NotReady
from ops.prompt import ask
from ops.stacks.boundary import Boundary
from ops.stacks.log_role import LogRole
from ops.stacks.runtime import RuntimeStack
from ops.stacks.secret import SecretMissing
from ops.stacks.stack import Plan, StackError
from ops.topology import ROLES, Topology

FORMAT = {"choices": ("text", "json"), "default": "text"}


class Command(BaseCommand):
    help = (
        "Manage the CloudFormation stack of a role: IAM role, logs, bucket, secret key."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        for name, text in (
            ("plan", "show what would change, and change nothing"),
            ("deploy", "create or change the stack; safe to run again"),
            ("delete", "delete the stack with its logs and its bucket"),
            ("status", "show its state and outputs"),
        ):
            action = actions.add_parser(name, help=text)
            action.add_argument("--role", choices=ROLES, required=True)
            action.add_argument("--format", **FORMAT)  # type: ignore[arg-type] # typed per keyword
            if name in {"plan", "deploy"}:
                action.add_argument(
                    "-s", "--settings-file", type=Path, default=ZAPPA_SETTINGS,
                    help="Zappa's settings, as for zappa -s; vpc_config decides what the IAM "
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
                stack = RuntimeStack(topology, options["role"])
                getattr(self, action)(stack, **options)
        except (AwsError, NotReady, SecretMissing, StackError) as error:
            raise CommandError(str(error)) from error

    def plan(self, stack: RuntimeStack, *, settings_file: Path, **_: Any) -> None:
        log_role = LogRole(stack.topology, stack.role)
        pending = Boundary(stack.topology).pending(), log_role.pending()
        plan = self._plan(stack, settings_file)
        stack.discard(plan)
        self._show(stack, plan, *pending)

    def deploy(self, stack: RuntimeStack, *, settings_file: Path, **_: Any) -> None:
        boundary = Boundary(stack.topology)
        log_role = LogRole(stack.topology, stack.role)
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
            question = f"This deletes all of the above. Type {stack.name} to go on: "
            if ask(question) != stack.name:
                raise CommandError("Nothing was deleted.")
        deleted = stack.delete(self._say)
        LogRole(stack.topology, stack.role).delete(self._say)
        if boundary:
            boundary.delete(self._say)
        if self.as_json:
            self._write({"stack": stack.name, "deleted": deleted})
        else:
            self._say(f"{stack.name} {'is deleted' if deleted else 'does not exist'}.")

    def _unneeded_boundary(self, stack: RuntimeStack) -> Boundary | None:
        """The boundary, unless the role of the other Region uses it."""
        other = stack.topology.peer_of(stack.role)
        if RuntimeStack(stack.topology, other).status() is not None:
            return None
        return Boundary(stack.topology)

    def status(self, stack: RuntimeStack, **_: Any) -> None:
        status, outputs = stack.status(), stack.outputs() or {}
        if self.as_json:
            self._write(
                {
                    "stack": stack.name,
                    "region": stack.region,
                    "status": status,
                    "outputs": outputs,
                }
            )
            return
        state = f"is {status}" if status else "does not exist"
        self._say(f"{stack.region}: {stack.name} {state}")
        for name, value in sorted(outputs.items()):
            self._say(f"  {name:<14} {value}")

    def rotate_key(self, topology: Topology) -> None:
        rotation.rotate(topology, self._say)
        if self.as_json:
            self._write({"rotated": True})

    def _plan(self, stack: RuntimeStack, settings_file: Path) -> Plan:
        in_vpc = uses_vpc(stack.role, settings_file)
        arns = {
            role: cluster.arn
            for role, cluster in require_clusters(stack.topology).items()
        }
        return stack.plan_for(arns, in_vpc=in_vpc, say=self._say)

    def _show(self, stack: RuntimeStack, plan: Plan, *beside: str | None) -> None:
        lines = [*filter(None, beside), *map(str, plan.changes)]
        if self.as_json:
            self._write({"stack": plan.stack, "changes": lines})
            return
        if plan.is_ready and not plan.changes:
            self._say(f"{stack.region}: change {plan.stack}, but none of its resources")
        elif not lines:
            self._say(f"{stack.region}: {plan.stack} is up to date.")
        for line in lines:
            self._say(f"{stack.region}: {line}")

    def _say(self, text: str) -> None:
        if not self.as_json:
            self.stdout.write(text)

    def _write(self, content: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(content, indent=2, sort_keys=True))
