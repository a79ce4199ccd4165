"""The function and the API stack that Zappa makes: whether they are whole, and whose."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ops import aws, ownership
from ops.ownership import NEVER_SERVED, NotReady
from ops.topology import Topology

ABSENT, PARTIAL, COMPLETE = "absent", "partial", "complete"
API_ONLY = "API without its function"
# CloudFormation's states in which Zappa can update its API stack.
UPDATABLE = {
    "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE",
    "IMPORT_ROLLBACK_COMPLETE",
}  # fmt: skip
# The part of a function's configuration that a deployment sets and Zappa's rollback leaves.
RESTORED = ("Environment", "MemorySize", "Timeout", "VpcConfig")
NETWORK_KEYS = ("SubnetIds", "SecurityGroupIds")


@dataclass(frozen=True, slots=True)
class Function:
    """The function of one role, with its API stack, which has the same name.

    Every method raises NotReady when a function or a stack of that name is not ours, and
    aws.AwsError.
    """

    topology: Topology
    role: str

    @property
    def region(self) -> str:
        return self.topology.function(self.role)[0]

    @property
    def name(self) -> str:
        return self.topology.function(self.role)[1]

    def state(self) -> str:
        """COMPLETE when both the function and Zappa's API stack exist.

        PARTIAL never served and may be removed; API_ONLY keeps its address when Zappa
        deploys again. Raises NotReady also while the stack changes, and when only the
        CloudFormation console can repair it.
        """
        stack, exists = self._stack(), self._configuration() is not None
        if stack is None:
            return PARTIAL if exists else ABSENT
        status = stack["StackStatus"]
        if status in NEVER_SERVED:
            return PARTIAL
        if status in UPDATABLE:
            return COMPLETE if exists else API_ONLY
        raise NotReady(
            f"{self.region}: stack {self.name} is {status}. Wait until it is done; if it stays "
            f"so, see its events in the CloudFormation console, or remove it: `zappa undeploy "
            f"{self.role}`. Then run the command again."
        )

    def require_ours(self) -> None:
        """Raise NotReady when the function or the stack exists and is not ours."""
        self._stack()
        self._configuration()

    def contents(self) -> list[str]:
        """What remove() deletes, one line for each resource; none when all is absent."""
        stack, exists = self._stack(), self._configuration() is not None
        lines = ownership.contents(self.region, stack) if stack else []
        return [
            *([f"{self.region}: function {self.name}"] if exists else []),
            *lines,
        ]

    def remove(self) -> None:
        """Delete the API stack and the function, whatever state they are in.

        Zappa would, without its stack, delete every API of the function's name, and every
        rule that anybody has pointed at the function.
        """
        stack, exists = self._stack(), self._configuration() is not None
        formation = aws.client("cloudformation", self.region)
        with aws.explained():
            if stack is not None:
                formation.delete_stack(StackName=stack["StackId"])
                formation.get_waiter("stack_delete_complete").wait(
                    StackName=stack["StackId"]
                )
            if exists:
                self._client().delete_function(FunctionName=self.name)

    def remove_without_api(self) -> None:
        """Delete the function and leave its API, which keeps its address."""
        if self._configuration() is not None:
            with aws.explained():
                self._client().delete_function(FunctionName=self.name)

    def latest_version(self) -> int:
        """The number of the newest published version; 0 when none is published."""
        return max(self.versions(), default=0)

    def versions(self) -> list[int]:
        """The numbers of the versions that were published and still exist."""
        if self._configuration() is None:
            return []
        client = self._client()
        with aws.explained():
            pages = client.get_paginator("list_versions_by_function").paginate(
                FunctionName=self.name
            )
            named = [each["Version"] for page in pages for each in page["Versions"]]
        return [int(number) for number in named if number.isdigit()]

    def variables(self) -> dict[str, str] | None:
        """The environment variables; None when the function is absent."""
        existing = self._configuration()
        if existing is None:
            return None
        return dict(existing.get("Environment", {}).get("Variables", {}))

    def keep_variables(self, names: Collection[str]) -> None:
        """Drop all other variables: Zappa's update only adds to the existing ones."""
        existing = self.variables() or {}
        self._set_variables({k: v for k, v in existing.items() if k in names}, existing)

    def add_variables(self, more: Mapping[str, str]) -> None:
        """Set these and keep the others; does nothing when the function is absent."""
        existing = self.variables()
        if existing is not None:
            self._set_variables({**existing, **more}, existing)

    def settings(self) -> dict[str, Any]:
        """The argument for restore(); empty when the function is absent."""
        existing = self._configuration() or {}
        kept = {key: existing[key] for key in RESTORED if key in existing}
        if "VpcConfig" in kept:
            kept["VpcConfig"] = {
                key: kept["VpcConfig"].get(key, []) for key in NETWORK_KEYS
            }
        return kept

    def restore(self, settings: Mapping[str, Any]) -> None:
        """Put variables, memory, timeout and network back."""
        if settings != self.settings():
            self._update({"Environment": {"Variables": {}}, **settings})

    def _set_variables(
        self, desired: Mapping[str, str], existing: Mapping[str, str]
    ) -> None:
        if desired != existing:
            self._update({"Environment": {"Variables": dict(desired)}})

    def _update(self, change: Mapping[str, Any]) -> None:
        """Only called with a change to what was read from our own function."""
        client = self._client()
        with aws.explained():
            client.get_waiter("function_updated_v2").wait(FunctionName=self.name)
            client.update_function_configuration(FunctionName=self.name, **change)
            client.get_waiter("function_updated_v2").wait(FunctionName=self.name)

    def _stack(self) -> dict[str, Any] | None:
        return ownership.stack(self.topology, self.region, self.name)

    def _configuration(self) -> dict[str, Any] | None:
        return ownership.function(self.topology, self.region, self.name)

    def _client(self) -> Any:
        return aws.client("lambda", self.region)
