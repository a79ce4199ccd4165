"""The runtime stack: what the function and API of one role need and Zappa does not make."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ops import ownership
from ops.arn import parse_arn
from ops.ownership import NotReady
from ops.stacks.stack import Parameters, Plan, Say, Sleep, Stack
from ops.topology import SECONDARY, Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeParameters(Parameters):
    TEMPLATE: ClassVar[Path] = Path(__file__).with_name("runtime.yaml")

    cluster_arn: str
    peer_cluster_arn: str
    in_vpc: bool
    secret_region: str

    @classmethod
    def build(
        cls, topology: Topology, role: str, arns: Mapping[str, str], *, in_vpc: bool
    ) -> "RuntimeParameters":
        """``arns`` are those of the clusters, by role."""
        return cls(
            prefix=topology.prefix,
            role=role,
            cluster_arn=arns[role],
            peer_cluster_arn=arns.get(topology.peer_of(role), arns[role]),
            in_vpc=in_vpc,
            secret_region=topology.regions.get(SECONDARY, topology.regions[role]),
        )


class RuntimeStack(Stack):
    """The stack whose role, bucket and log groups a deployment uses."""

    def __init__(
        self, topology: Topology, role: str, *, sleep: Sleep = time.sleep
    ) -> None:
        super().__init__(topology, role, RuntimeParameters, sleep=sleep)

    def serves_vpc(self) -> bool:
        """Whether the function's role may join a VPC."""
        return self.parameters().get("InVpc") == "yes"

    def plan_for(self, arns: Mapping[str, str], *, in_vpc: bool, say: Say) -> Plan:
        """Plan the stack for these clusters. Raises StackError."""
        # S3 lets its owner make a bucket of us-east-1 again, and an adopted one would be
        # tagged as ours: a bucket of somebody else is found before that.
        account = parse_arn(arns[self.role]).account
        name = f"{self.topology.prefix}-{account}-{self.region}"
        ownership.bucket(self.topology, self.region, name)
        parameters = RuntimeParameters.build(
            self.topology, self.role, arns, in_vpc=in_vpc
        )
        return self.plan(parameters, say)

    def logs_are_in_use(self) -> bool:
        """Whether a function of the name exists again, whose log groups they are then."""
        try:
            return (
                ownership.function(self.topology, self.region, self.function)
                is not None
            )
        except NotReady:
            return True
