"""The one database of both Regions: migrated, and a role that may only change rows.

Role, grants and mapping follow the AWS user guide, "Using database roles and IAM
authentication". Each statement is a transaction of its own, as DSQL wants its DDL.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management import call_command
from django.db import connections

from config.dsql.retry import run_statement
from ops.clusters import failover
from ops.clusters.inventory import Cluster
from ops.topology import Topology

ADMIN = "admin"
RUNTIME_ROLE = "app"
ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:(role|user)/[\w+=,.@/-]+")
ROW_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")
Row = tuple[Any, ...]
Say = Callable[[str], None]
# What the role lacks; of the migrations' own table it needs to read only.
MISSING_PRIVILEGES = """
    SELECT c.relname, p.privilege
    FROM pg_catalog.pg_class c
    CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) p (privilege)
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
      AND (p.privilege = 'SELECT' OR c.relname <> 'django_migrations')
      AND NOT has_table_privilege(%s, c.oid, p.privilege)
    ORDER BY 1, 2
"""
MAPPED = "SELECT arn FROM sys.iam_pg_role_mappings WHERE pg_role_name = %s ORDER BY 1"


def runtime_arn(topology: Topology, role: str, cluster: Cluster) -> str:
    """The ARN of the role that the Region's runtime stack makes."""
    partition = cluster.arn.split(":")[1]
    name = f"{topology.prefix}-{role}-runtime"
    return f"arn:{partition}:iam::{cluster.account}:role/{name}"


@contextmanager
def connected(endpoint: str, user: str = ADMIN) -> Iterator[str]:
    """An alias of Django's connected to that endpoint; closed and forgotten afterwards."""
    alias = f"{user}@{endpoint}"
    # Without a peer: each endpoint is to answer for itself.
    connections.databases[alias] = {**failover.settings_for(endpoint), "USER": user}
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.databases[alias]


def fetch(alias: str, sql: str, *params: Any) -> list[Row]:
    """The rows of one statement, repeated on a conflict."""

    def work() -> list[Row]:
        with connections[alias].cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall()) if cursor.description else []

    return run_statement(work, using=alias)


def prepare(alias: str, arns: list[str], say: Say, *, verbosity: int = 1) -> int:
    """Migrate, make the role, grant what it lacks, map the ARNs; the number of changes.

    Each change is made only where it is missing, because every one of them makes the
    first statement of every other session fail with OC001.
    """
    call_command("migrate", database=alias, interactive=False, verbosity=verbosity)
    role = connections[alias].ops.quote_name(RUNTIME_ROLE)
    statements = []
    if not fetch(
        alias, "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s", RUNTIME_ROLE
    ):
        _change(alias, f"CREATE ROLE {role} WITH LOGIN", say)
        statements.append("role")
    lacking: dict[str, list[str]] = {}
    for table, privilege in fetch(alias, MISSING_PRIVILEGES, RUNTIME_ROLE):
        lacking.setdefault(table, []).append(privilege)
    for table, privileges in lacking.items():
        name = connections[alias].ops.quote_name(table)
        _change(alias, f"GRANT {', '.join(privileges)} ON TABLE {name} TO {role}", say)
    mapped = {row[0] for row in fetch(alias, MAPPED, RUNTIME_ROLE)}
    new = [arn for arn in arns if arn not in mapped]
    for arn in new:
        _change(alias, f"AWS IAM GRANT {role} TO '{arn}'", say)
    return len(statements) + len(lacking) + len(new)


def _change(alias: str, sql: str, say: Say) -> None:
    say(sql)
    fetch(alias, sql)
