"""The configuration: Regions, names and tags, validated before any call."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from django.core.exceptions import ImproperlyConfigured

from config import env as environment

PRIMARY, SECONDARY = ROLES = ("primary", "secondary")
MANAGED_BY = "multi-region-app"
# Functions, roles, stacks and buckets are named after it, so it is narrower than a tag's value.
# Permissions are granted by names that begin with it: a short prefix would match too much.
PREFIX = re.compile(r"(?=.{3,32}$)(?=([-0-9]*[a-z]){3})[a-z](-?[a-z0-9])*")
REGION = re.compile(r"(us-gov|[a-z]{2})-[a-z]+-[1-9]")
# The clusters of one set lie on one continent (user guide, "Multi-Region clusters"); AWS
# itself says which of its Regions may be combined.
CONTINENTS = {
    "us": "North America", "ca": "North America", "eu": "Europe", "ap": "Asia Pacific",
}  # fmt: skip


@dataclass(frozen=True)
class Topology:
    """Which Regions serve, which is the witness, and the tags that identify everything."""

    prefix: str
    regions: Mapping[str, str]  # role to Region; the primary comes first
    witness: str | None  # None for a single-Region cluster

    @classmethod
    def from_environment(
        cls, env: Mapping[str, str] = os.environ, *, single_region: bool = False
    ) -> "Topology":
        """Read CLUSTER_NAME_PREFIX and the Region variables.

        Raises ImproperlyConfigured naming the variable that is wrong.
        """
        prefix = environment.text("CLUSTER_NAME_PREFIX", MANAGED_BY, env=env)
        if not PREFIX.fullmatch(prefix):
            raise ImproperlyConfigured(
                f"CLUSTER_NAME_PREFIX is {prefix!r}; use 3 to 32 lower-case letters, digits and "
                f"single hyphens, at least three of them letters, beginning with a letter and "
                f"not ending with a hyphen."
            )
        primary = _region("PRIMARY_REGION", "us-east-1", env)
        if single_region:
            return cls(prefix, {PRIMARY: primary}, None)
        secondary = _region("SECONDARY_REGION", "us-east-2", env)
        witness = _region("WITNESS_REGION", "us-west-2", env)
        _check_set(
            {
                "PRIMARY_REGION": primary,
                "SECONDARY_REGION": secondary,
                "WITNESS_REGION": witness,
            }
        )
        return cls(prefix, {PRIMARY: primary, SECONDARY: secondary}, witness)

    @property
    def single_region(self) -> bool:
        return self.witness is None

    def function(self, role: str) -> tuple[str, str]:
        """Region and name of the role's Lambda function, which its API's stack shares."""
        return self.regions[role], f"{self.prefix}-{role}"

    def peer_of(self, role: str) -> str:
        return SECONDARY if role == PRIMARY else PRIMARY

    def tags(self, role: str) -> dict[str, str]:
        """The tags of everything created for that role."""
        return {**self.common_tags, "Role": role}

    @cached_property
    def common_tags(self) -> dict[str, str]:
        return {"Application": self.prefix, "ManagedBy": MANAGED_BY}


def continent_of(region: str) -> str:
    """The continent of a Region; an unknown first part of the name stands for itself."""
    begin = region.rsplit("-", 2)[0]
    return CONTINENTS.get(begin, begin)


def _region(name: str, default: str, env: Mapping[str, str]) -> str:
    region = environment.text(name, default, env=env)
    if not REGION.fullmatch(region):
        raise ImproperlyConfigured(
            f"{name} is {region!r}, which is not a Region's name; use one like {default}."
        )
    return region


def _check_set(named: Mapping[str, str]) -> None:
    """Raise ImproperlyConfigured unless the Regions can form one multi-Region cluster."""
    text = ", ".join(f"{name}={region}" for name, region in named.items())
    if len(set(named.values())) < len(named):
        raise ImproperlyConfigured(
            f"Two of the Regions are the same ({text}); use three different ones."
        )
    if len({continent_of(region) for region in named.values()}) > 1:
        raise ImproperlyConfigured(
            f"The Regions lie on different continents ({text}); the two clusters and their "
            f"witness must be on one."
        )
