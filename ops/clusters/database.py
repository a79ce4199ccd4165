"""The database of both Regions: its migrations, and a role that may only change rows.

Role, grants and mapping follow the AWS user guide, "Using database roles and IAM
authentication". Each statement is its own transaction, as DSQL requires for DDL.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management import call_command
from django.db import connections

from ops.arn import parse_arn
from ops.clusters import failover, rights
from ops.clusters.inventory import Cluster
from ops.topology import Topology

ADMIN = "admin"
RUNTIME_ROLE = "app"
ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:(role|user)/[\w+=,.@/-]+")
Row = tuple[Any, ...]
Say = Callable[[str], None]
MAPPED = "SELECT arn FROM sys.iam_pg_role_mappings WHERE pg_role_name = %s ORDER BY 1"


def runtime_arn(topology: Topology, role: str, cluster: Cluster) -> str:
    """The ARN of the IAM role that the runtime stack of the role makes."""
    partition = parse_arn(cluster.arn).partition
    name = f"{topology.prefix}-{role}-runtime"
    return f"arn:{partition}:iam::{cluster.account}:role/{name}"


@contextmanager
def connected(endpoint: str, user: str = ADMIN) -> Iterator[str]:
    """A database alias for that endpoint; closed and removed afterwards."""
    alias = f"{user}@{endpoint}"
    # Without a peer: each endpoint is checked by itself.
    connections.databases[alias] = {**failover.settings_for(endpoint), "USER": user}
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.databases[alias]


def fetch(alias: str, sql: str, *params: Any) -> list[Row]:
    """The rows of one statement, which the backend repeats on a conflict."""
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall()) if cursor.description else []


def prepare(
    alias: str, arns: list[str], say: Say, *, remap: bool = False, verbosity: int = 1
) -> int:
    """Migrate, create the role, grant what it lacks, and map only these ARNs to it.

    Returns the number of changes. Only missing ones are made, because each makes the
    first statement of every other session fail with OC001. ``remap`` also revokes and
    grants existing mappings again: an IAM role that was deleted and created again has
    the same ARN but another identity, and is refused until then.
    """
    call_command("migrate", database=alias, interactive=False, verbosity=verbosity)
    quote = connections[alias].ops.quote_name
    role = quote(RUNTIME_ROLE)
    statements = []
    if not fetch(alias, "SELECT 1 FROM pg_roles WHERE rolname = %s", RUNTIME_ROLE):
        statements.append(f"CREATE ROLE {role} WITH LOGIN")
    lacking = rights.find_lacking(fetch(alias, rights.TABLES), RUNTIME_ROLE)
    for table, privileges in lacking.items():
        statements.append(
            f"GRANT {', '.join(privileges)} ON TABLE {quote(table)} TO {role}"
        )
    mapped = [row[0] for row in fetch(alias, MAPPED, RUNTIME_ROLE)]
    for arn in arns:
        if arn in mapped and remap:
            statements.append(f"AWS IAM REVOKE {role} FROM {_literal(arn)}")
        if arn not in mapped or remap:
            statements.append(f"AWS IAM GRANT {role} TO {_literal(arn)}")
    unwanted = [_literal(arn) for arn in mapped if arn not in arns]
    statements += [f"AWS IAM REVOKE {role} FROM {arn}" for arn in unwanted]
    for sql in statements:
        say(sql)
        fetch(alias, sql)
    return len(statements)


def _literal(text: str) -> str:
    """These statements take no parameters."""
    return "'" + text.replace("'", "''") + "'"
