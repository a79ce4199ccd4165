"""What Zappa is told: the settings of one stage, from the topology and the account."""

import secrets
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from ops import ownership
from ops.clusters.database import RUNTIME_ROLE
from ops.deploy import found
from ops.deploy.gateway import Gateway
from ops.deploy.options import Options
from ops.ownership import NotReady
from ops.paths import PROJECT
from ops.stacks import secret
from ops.stacks.runtime import RuntimeStack
from ops.stacks.secret import DjangoKey
from ops.target import manage
from ops.topology import PRIMARY, Topology


def local(topology: Topology, options: Options, stage: str) -> dict[str, Any]:
    """What needs no account: enough for ``zappa package``, ``status`` and ``undeploy``."""
    return {
        "project_name": topology.prefix,
        # Zappa's default is to write its own policy into a role that it finds by name.
        "manage_roles": False,
        "aws_region": topology.regions[stage],
        "memory_size": options.memory,
        "timeout_seconds": options.timeout,
        "lambda_description": f"{topology.prefix}: the users API, {stage} Region",
        "apigateway_description": f"{topology.prefix}: the users API, {stage} Region",
        "tags": topology.tags(stage),
        # Zappa's default where a settings file is silent: on. A strong ETag names bytes.
        "payload_compression": False,
        **({"runtime": options.runtime} if options.runtime else {}),
    }


def deployed(topology: Topology, options: Options, stage: str) -> dict[str, Any]:
    """All of it, as the account has it. Raises NotReady or SecretMissing."""
    clusters = found.clusters(topology)
    outputs = RuntimeStack(topology, stage).outputs()
    region = topology.regions[stage]
    if outputs is None:
        raise NotReady(
            f"{region}: there is no complete runtime stack. Run `manage.py stack deploy "
            f"--stage {stage}`."
        )
    arns = {outputs.get("ClusterArn"), outputs.get("PeerClusterArn")}
    if arns != {cluster.arn for cluster in clusters.values()}:
        raise NotReady(
            f"{region}: the runtime stack lets the function connect to other clusters than "
            f"there are. Run `manage.py stack deploy --stage {stage}`."
        )
    if not ownership.bucket(topology, region, outputs["BucketName"]):
        raise NotReady(
            f"{region}: the runtime stack's bucket {outputs['BucketName']} is gone. Make the "
            f"stack anew: `manage.py stack delete --stage {stage}`, then `stack deploy`."
        )
    endpoints = {role: cluster.endpoint for role, cluster in clusters.items()}
    key = secret.read(topology, stage)
    return {
        **local(topology, options, stage),
        "role_arn": outputs["RoleArn"],
        "s3_bucket": outputs["BucketName"],
        "aws_environment_variables": {
            **variables(topology, options, stage, endpoints, key),
            **peer_url(topology, options, topology.peer_of(stage)),
        },
    }


def variables(
    topology: Topology, options: Options, stage: str, endpoints: Mapping[str, str],
    key: DjangoKey,
) -> dict[str, str]:  # fmt: skip
    """The variables of one stage's function, but for its peer's address."""
    return {
        "DSQL_ENDPOINT": endpoints[stage],
        "DSQL_PEER_ENDPOINT": endpoints[topology.peer_of(stage)],
        "DSQL_USER": RUNTIME_ROLE,
        "ALLOWED_HOSTS": ",".join(options.allowed_hosts),
        "LOG_FORMAT": "json",
        "METRICS_NAMESPACE": topology.prefix,
        **options.passed,
        **key.variables(),
    }


def foreseen(topology: Topology, options: Options, stage: str) -> dict[str, str]:
    """The same before anything is made: any endpoints and any key."""
    endpoints = {
        role: f"{'a' * 26}.dsql.{region}.on.aws"
        for role, region in topology.regions.items()
    }
    return variables(
        topology, options, stage, endpoints, DjangoKey(secrets.token_urlsafe(50))
    )


def require_network(
    topology: Topology, stage: str, vpc_config: Any, settings_file: str | None
) -> None:
    """Raise NotReady when Zappa's settings ask for a VPC that the role may not join."""
    if vpc_config and not RuntimeStack(topology, stage).serves_vpc():
        named = f" --settings-file {settings_file}" if settings_file else ""
        raise NotReady(
            f"{topology.regions[stage]}: the settings put the function into a VPC, and its role "
            f"may not join one. Run `manage.py stack deploy --stage {stage}{named}`."
        )


def peer_url(topology: Topology, options: Options, peer: str) -> dict[str, str]:
    """Where the front page finds the peer's health; nothing before the peer is deployed."""
    gateway = Gateway.of(topology, peer)
    return {"PEER_URL": gateway.url(options.stage)} if gateway else {}


def require_current_schema(topology: Topology, environ: dict[str, str]) -> None:
    """Raise NotReady when the code has migrations that the database has not.

    Old code serves a schema that is ahead of it; no code serves one that is behind.
    """
    cluster = found.clusters(topology)[PRIMARY]
    # Not manage.py, which would read a .env: that may be a sandbox's.
    done = subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--check", "--plan", "--no-color"],
        cwd=PROJECT,
        env={
            **environ,
            "DJANGO_SETTINGS_MODULE": "config.settings_ops",
            "DSQL_ENDPOINT": cluster.endpoint,
            "DSQL_PEER_ENDPOINT": "",
            "DSQL_USER": "admin",
            "AWS_REGION": cluster.region,
            "DJANGO_SECRET_KEY": environ.get("DJANGO_SECRET_KEY", "signs nothing here"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return
    if "Planned operations" in done.stdout:
        raise NotReady(
            f"The database lacks migrations of this code:\n{done.stdout.strip()}\n"
            f"Run `{manage('dsql_database')}`, then deploy again."
        )
    said = (done.stderr or done.stdout).strip().splitlines()
    raise NotReady(
        f"{cluster.region}: the schema could not be checked: {said[-1] if said else ''}\n"
        f"Mend that, then deploy again. `{manage('dsql_verify')} --only login` tries the login."
    )
