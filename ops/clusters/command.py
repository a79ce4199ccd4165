"""What the cluster commands share: their options, target and errors."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops.arn import parse_arn
from ops.aws import AwsError
from ops.clusters.apply import ApplyError, Say
from ops.clusters.inventory import Cluster
from ops.target import OPTION, TARGETS, describe
from ops.topology import Topology


class ClusterCommand(BaseCommand):
    """``work`` gets the topology; a refusal by AWS becomes a CommandError."""

    requires_system_checks: list[str] = []
    work: Callable[..., None]
    formats: tuple[str, ...] = ("text", "json")

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_target(parser)
        parser.add_argument(
            "--single-region",
            action="store_true",
            help="one cluster in PRIMARY_REGION, for development",
        )
        parser.add_argument("--format", choices=self.formats, default="text")

    def handle(self, *args: Any, single_region: bool, **options: Any) -> None:
        topology = Topology.from_environment(single_region=single_region)
        try:
            self.work(topology, **options)
        except (AwsError, ApplyError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("Interrupted.", returncode=130) from None

    def progress_printer(self, style: str) -> Say:
        """Progress: on standard error where standard output is for a program."""
        stream = self.stdout if style == "text" else self.stderr
        return lambda text: stream.write(
            text, self.style.NOTICE if stream is self.stderr else None
        )


def add_target(parser: ArgumentParser) -> None:
    """Document the option, which ``manage.py`` removes before a command is parsed."""
    parser.add_argument(
        OPTION,
        choices=TARGETS,
        help="default: $TARGET, or the sandbox of this checkout while it runs",
    )


def target() -> str:
    """The first line of every command: its target. Raises AwsError."""
    return f"Target: {describe()}"


def seconds(text: str) -> float:
    """A positive number of seconds, as an argument's type."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86_400:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds up to 86400")
    return value


def keys_by_role(topology: Topology, texts: list[str]) -> dict[str, str]:
    """The KMS key of each role. Raises CommandError naming what is wrong."""
    keys: dict[str, str] = {}
    for text in texts:
        role, _, key = text.rpartition("=")
        roles = [role] if role else list(topology.regions)
        if role and role not in topology.regions:
            raise CommandError(
                f"--kms-key {text}: {role!r} is not one of {', '.join(topology.regions)}."
            )
        if key.startswith("arn:"):
            roles = [r for r in roles if _is_key_in(key, topology.regions[r])]
            if not roles:
                raise CommandError(
                    f"--kms-key {text}: the key must be in the Region of its cluster "
                    f"({', '.join(topology.regions.values())})."
                )
        keys.update(dict.fromkeys(roles, key))
    return keys


def _is_key_in(key: str, region: str) -> bool:
    try:
        return parse_arn(key).region == region
    except ValueError:
        return False


def table(members: dict[str, Cluster]) -> list[str]:
    """One line for each cluster."""
    return [
        f"{role:<10} {c.region:<15} {c.identifier}  {c.status:<14} "
        f"{'protected' if c.protected else 'unprotected':<12} {c.endpoint}"
        for role, c in members.items()
    ]


def as_json(cluster: Cluster) -> dict[str, Any]:
    return {
        "identifier": cluster.identifier,
        "arn": cluster.arn,
        "region": cluster.region,
        "status": cluster.status,
        "endpoint": cluster.endpoint,
        "deletion_protection": cluster.protected,
        "witness_region": cluster.witness,
        "peers": list(cluster.peers),
        "encryption": cluster.encryption,
        "encryption_status": cluster.encryption_status,
        "kms_key": cluster.kms_key,
        "statement_statistics": cluster.statistics,
        "tags": dict(cluster.tags),
        "created": cluster.created.isoformat(),
    }
