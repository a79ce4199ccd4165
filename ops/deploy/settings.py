"""The settings that Zappa gets for one role, from the topology and the account."""

import secrets
from collections.abc import Mapping
from typing import Any

from ops import ownership
from ops.clusters.database import RUNTIME_ROLE
from ops.deploy import preflight
from ops.deploy.clusters import require_clusters
from ops.deploy.gateway import Gateway
from ops.deploy.options import Options
from ops.ownership import NotReady
from ops.stacks import secret
from ops.stacks.runtime import RuntimeStack
from ops.stacks.secret import DjangoKey
from ops.target import manage
from ops.topology import PRIMARY, Topology


def build_offline(topology: Topology, options: Options, role: str) -> dict[str, Any]:
    """What needs no account: enough for ``zappa package``, ``status`` and ``undeploy``."""
    return {
        "project_name": topology.prefix,
        # Zappa's default is to write its own policy into a role that it finds by name.
        "manage_roles": False,
        "aws_region": topology.regions[role],
        "memory_size": options.memory,
        "timeout_seconds": options.timeout,
        "lambda_description": f"{topology.prefix}: the users API, {role} Region",
        "apigateway_description": f"{topology.prefix}: the users API, {role} Region",
        "tags": topology.tags(role),
        # Zappa's default where a settings file is silent: on. A strong ETag names bytes.
        "payload_compression": False,
        **({"runtime": options.runtime} if options.runtime else {}),
    }


def build(topology: Topology, options: Options, role: str) -> dict[str, Any]:
    """All settings, as the account has them. Raises NotReady or SecretMissing."""
    clusters = require_clusters(topology)
    outputs = RuntimeStack(topology, role).outputs()
    region = topology.regions[role]
    if outputs is None:
        raise NotReady(
            f"{region}: no complete runtime stack exists. Run `manage.py stack deploy "
            f"--role {role}`."
        )
    if "MaintenanceRuleArn" not in outputs:
        raise NotReady(
            f"{region}: the runtime stack is of an earlier version and has no schedule for "
            f"maintenance. Run `manage.py stack deploy --role {role}`."
        )
    arns = {outputs.get("ClusterArn"), outputs.get("PeerClusterArn")}
    if arns != {cluster.arn for cluster in clusters.values()}:
        raise NotReady(
            f"{region}: the runtime stack lets the function connect to other clusters than "
            f"those that exist. Run `manage.py stack deploy --role {role}`."
        )
    if not ownership.bucket(topology, region, outputs["BucketName"]):
        raise NotReady(
            f"{region}: the runtime stack's bucket {outputs['BucketName']} is gone. Create the "
            f"stack again: `manage.py stack delete --role {role}`, then `stack deploy`."
        )
    endpoints = {each: cluster.endpoint for each, cluster in clusters.items()}
    key = secret.read(topology, role)
    return {
        **build_offline(topology, options, role),
        "role_arn": outputs["RoleArn"],
        "s3_bucket": outputs["BucketName"],
        "aws_environment_variables": {
            **build_variables(topology, options, role, endpoints, key),
            **find_peer_url(topology, options, topology.peer_of(role)),
        },
    }


def build_variables(
    topology: Topology, options: Options, role: str, endpoints: Mapping[str, str],
    key: DjangoKey,
) -> dict[str, str]:  # fmt: skip
    """The variables of the function of one role, but for the URL of its peer."""
    return {
        "DSQL_ENDPOINT": endpoints[role],
        "DSQL_PEER_ENDPOINT": endpoints[topology.peer_of(role)],
        "DSQL_USER": RUNTIME_ROLE,
        "ALLOWED_HOSTS": ",".join(options.allowed_hosts),
        "LOG_FORMAT": "json",
        "METRICS_NAMESPACE": topology.prefix,
        **options.passed,
        **key.variables(),
    }


def preview_variables(
    topology: Topology, options: Options, role: str
) -> dict[str, str]:
    """The same before anything exists: with any endpoints and any key."""
    endpoints = {
        each: f"{'a' * 26}.dsql.{region}.on.aws"
        for each, region in topology.regions.items()
    }
    key = DjangoKey(secrets.token_urlsafe(50))
    return build_variables(topology, options, role, endpoints, key)


def require_network(
    topology: Topology, role: str, vpc_config: Any, settings_file: str | None
) -> None:
    """Raise NotReady when Zappa's settings ask for a VPC that the IAM role may not join."""
    if vpc_config and not RuntimeStack(topology, role).serves_vpc():
        named = f" --settings-file {settings_file}" if settings_file else ""
        raise NotReady(
            f"{topology.regions[role]}: the settings put the function into a VPC, and its IAM "
            f"role may not join one. Run `manage.py stack deploy --role {role}{named}`."
        )


def find_peer_url(topology: Topology, options: Options, peer: str) -> dict[str, str]:
    """Where the front page reads the health of the peer; empty until it is deployed."""
    gateway = Gateway.find(topology, peer)
    return {"PEER_URL": gateway.url(options.public_stage)} if gateway else {}


def require_current_schema(topology: Topology, environ: Mapping[str, str]) -> None:
    """Raise NotReady when the code has migrations that the database lacks.

    Old code serves a schema that is ahead of it; no code serves one that is behind.
    """
    cluster = require_clusters(topology)[PRIMARY]
    variables = {
        "DJANGO_SECRET_KEY": "signs nothing here",
        **environ,
        "DSQL_ENDPOINT": cluster.endpoint,
        "DSQL_PEER_ENDPOINT": "",
        "DSQL_USER": "admin",
    }
    try:
        missing = preflight.unapplied_migrations(cluster.region, variables)
    except preflight.CheckFailed as error:
        raise NotReady(
            f"{cluster.region}: the schema could not be checked: {error}\n"
            f"Fix this, then deploy again. `{manage('dsql_verify')} --only login` tries the "
            f"login."
        ) from error
    if missing:
        raise NotReady(
            f"The database lacks migrations of this code: {', '.join(missing)}.\n"
            f"Run `{manage('dsql_database')}`, then deploy again."
        )
