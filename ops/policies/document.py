"""Building blocks of IAM policy documents. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.topology import PRIMARY, Topology

MAX_MANAGED = 6144  # characters of a managed policy: IAM user guide, "Quotas"
Statement = dict[str, Any]
Document = dict[str, Any]
# For actions without resource types: the service authorization reference.
EVERYTHING = ["*"]
GATEWAY = "apigateway.amazonaws.com"
SCHEDULER = "events.amazonaws.com"
# A stack's id, and what Secrets Manager appends to a name.
UUID, SUFFIX = "-".join("?" * length for length in (8, 4, 4, 4, 12)), "?" * 6


@dataclass(frozen=True, slots=True)
class Scope:
    """The scope of a policy: the account and, once they exist, the clusters."""

    topology: Topology
    account: str
    cluster_arns: Mapping[str, str]  # by role
    partition: str = "aws"
    kms_keys: Mapping[str, str] = field(default_factory=dict)  # by role
    role: str = PRIMARY  # of the function
    in_vpc: bool = False  # whether that function is in a VPC

    def arn(self, service: str, region: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{region}:{self.account}:{resource}"

    def per_region(self, service: str, *resources: str) -> list[str]:
        return [
            self.arn(service, region, resource)
            for region in self.topology.regions.values()
            for resource in resources
        ]

    def named(self, service: str, *resources: str) -> list[str]:
        """The resources of each role in its Region; ``{}`` stands for the function's name."""
        return [
            self.arn(service, region, resource.format(name))
            for region, name in map(self.topology.function, self.topology.regions)
            for resource in resources
        ]

    def iam(self, kind: str, *names: str) -> list[str]:
        return [
            f"arn:{self.partition}:iam::{self.account}:{kind}/{name}" for name in names
        ]

    def roles(self, suffix: str) -> list[str]:
        names = [self.topology.function(role)[1] for role in self.topology.regions]
        return self.iam("role", *(f"{name}-{suffix}" for name in names))

    def apis(self, *paths: str) -> list[str]:
        regions = self.topology.regions.values()
        arn = f"arn:{self.partition}:apigateway"
        return [f"{arn}:{region}::/{path}" for region in regions for path in paths]

    def buckets(self, objects: str = "") -> list[str]:
        """The buckets of the stacks; with ``/*`` their objects."""
        name = f"{self.topology.prefix}-{self.account}"
        regions = self.topology.regions.values()
        return [f"arn:{self.partition}:s3:::{name}-{r}{objects}" for r in regions]

    def log_groups(self, *services: str) -> list[str]:
        """Each log group as itself, which has tags, and as its content."""
        names = [f"log-group:/aws/{service}/{{}}" for service in services]
        return self.named(
            "logs", *(f"{name}{end}" for name in names for end in ("", ":*"))
        )

    def secrets(self) -> list[str]:
        name = f"{self.topology.prefix}-django-key-{UUID}-{SUFFIX}"
        return self.per_region("secretsmanager", f"secret:{name}")

    @property
    def boundary(self) -> str:
        """The ARN of the permissions boundary of the functions' roles."""
        return self.iam("policy", f"{self.topology.prefix}-boundary")[0]

    def cluster_arn(self, role: str) -> str:
        """The cluster of the role; any cluster of its Region until there is one."""
        region = self.topology.regions[role]
        return self.cluster_arns.get(role) or self.arn("dsql", region, "cluster/*")

    def connect_as_admin(self, sid: str) -> Statement:
        """Connect to our clusters: by their ARNs, or by their tags until they exist."""
        roles = self.topology.regions
        known = all(role in self.cluster_arns for role in roles)
        return allow(
            sid, [self.cluster_arn(role) for role in roles], "dsql:DbConnectAdmin",
            condition=None if known else self.resource_is_ours,
        )  # fmt: skip

    @property
    def resource_is_ours(self) -> dict[str, Any]:
        """The condition that the resource carries our tags."""
        return {"StringEquals": self.tags("aws:ResourceTag")}

    @property
    def request_tags_ours(self) -> dict[str, Any]:
        """The condition that the request tags what it creates as ours."""
        return {"StringEquals": self.tags("aws:RequestTag")}

    def tags(self, key: str) -> dict[str, str]:
        common = self.topology.common_tags.items()
        return {f"{key}/{name}": value for name, value in common}


def document(*statements: Statement) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def size(policy: Document) -> int:
    """Its length as IAM counts it, without white space."""
    return len(json.dumps(policy, separators=(",", ":")))


def in_parts(policy: Document) -> list[Document]:
    """The same policy in parts that each fit into a managed policy."""
    parts: list[list[Statement]] = [[]]
    for statement in policy["Statement"]:
        if size(document(*parts[-1], statement)) > MAX_MANAGED:
            parts.append([])
        parts[-1].append(statement)
    return [document(*part) for part in parts]


def allow(
    sid: str, resources: list[str], *actions: str, condition: Any = None
) -> Statement:
    statement: Statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": sorted(actions),
        "Resource": resources,
    }
    return {**statement, "Condition": condition} if condition else statement
