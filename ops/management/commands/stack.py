import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops.aws import AwsError
from ops.deploy import rotation
from ops.deploy.found import NotReady, clusters
from ops.deploy.options import in_vpc
from ops.stacks.boundary import Boundary
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

    def plan(self, stack: RuntimeStack, **_: Any) -> None:
        plan = self._plan(stack)
        stack.discard(plan)
        self._show(stack, plan, Boundary(stack.topology).pending())

    def deploy(self, stack: RuntimeStack, **_: Any) -> None:
        boundary = Boundary(stack.topology)
        pending = boundary.pending()
        plan = self._plan(stack)
        if not self.as_json:
            self._show(stack, plan, pending)
        boundary.apply(self._say)
        stack.apply(plan, self._say)
        self.status(stack)

    def delete(self, stack: RuntimeStack, *, yes: bool, **_: Any) -> None:
        if not yes and stack.status() is not None:
            self._say(f"This deletes stack {stack.name} in {stack.region}.")
            if input("Type its name to go on: ") != stack.name:
                raise CommandError("Nothing was deleted.")
        deleted = stack.delete(self._say)
        stages = stack.topology.regions
        if all(RuntimeStack(stack.topology, s).status() is None for s in stages):
            Boundary(stack.topology).delete(self._say)
        if self.as_json:
            self._write({"stack": stack.name, "deleted": deleted})
        else:
            self._say(f"{stack.name} is {'deleted' if deleted else 'not there'}.")

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

    def _plan(self, stack: RuntimeStack) -> Plan:
        arns = {role: found.arn for role, found in clusters(stack.topology).items()}
        return stack.plan(arns, in_vpc=in_vpc(stack.stage), say=self._say)

    def _show(self, stack: RuntimeStack, plan: Plan, boundary: str | None) -> None:
        lines = [*([boundary] if boundary else []), *map(str, plan.changes)]
        if self.as_json:
            self._write({"stack": plan.stack, "changes": lines})
            return
        if not lines:
            self._say(f"{stack.region}: {plan.stack} is as it should be.")
        for line in lines:
            self._say(f"{stack.region}: {line}")

    def _say(self, text: str) -> None:
        if not self.as_json:
            self.stdout.write(text)

    def _write(self, content: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(content, indent=2, sort_keys=True))
