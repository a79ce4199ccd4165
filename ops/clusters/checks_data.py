"""Checks through one endpoint, as admin; each takes the alias and the runtime roles' ARNs."""

from collections.abc import Sequence
from typing import Any

from django.db import DatabaseError, connections

from config.api.health import unapplied
from ops.clusters.checks import CheckFailed
from ops.clusters.database import MAPPED, MISSING_PRIVILEGES, RUNTIME_ROLE, fetch

PREPARE = "manage.py dsql_database"
INVALID_INDEXES = """
    SELECT indexrelid::regclass::text FROM pg_catalog.pg_index
    JOIN pg_catalog.pg_class ON pg_class.oid = indexrelid
    WHERE NOT indisvalid AND relnamespace = current_schema()::regnamespace
"""
FAILED_JOBS = """
    SELECT job_id, job_type, status, details FROM sys.jobs
    WHERE status IN ('failed', 'cancelled') ORDER BY job_id
"""
ATTRIBUTES = """
    SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin
    FROM pg_catalog.pg_roles WHERE rolname = %s
"""
MEMBERSHIPS = """
    SELECT granted.rolname FROM pg_catalog.pg_auth_members m
    JOIN pg_catalog.pg_roles granted ON granted.oid = m.roleid
    JOIN pg_catalog.pg_roles member ON member.oid = m.member
    WHERE member.rolname = %s ORDER BY 1
"""
# Rights beyond rows: on tables, on the schema, and what comes with ownership.
EXCESS = """
    SELECT p.privilege || ' on ' || c.relname FROM pg_catalog.pg_class c
    CROSS JOIN (VALUES ('TRUNCATE'), ('REFERENCES'), ('TRIGGER')) p (privilege)
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
      AND has_table_privilege(%s, c.oid, p.privilege)
    UNION ALL
    SELECT 'CREATE on schema ' || current_schema()
    WHERE has_schema_privilege(%s, current_schema(), 'CREATE')
    UNION ALL
    SELECT 'owns ' || c.relname FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_roles r ON r.oid = c.relowner WHERE r.rolname = %s
    ORDER BY 1
"""


def login(alias: str, arns: Sequence[str]) -> str:
    """TLS with a verified name, and a token the endpoint accepts."""
    try:
        connections[alias].ensure_connection()
    except DatabaseError as error:
        text = " ".join(str(error).split())
        raise CheckFailed(text, _login_hint(text)) from error
    raw: Any = connections[alias].connection
    if not raw.pgconn.ssl_in_use:
        raise CheckFailed("The connection is not encrypted.", "Remove sslmode.")
    return str(connections[alias].settings_dict["HOST"])


def migrations(alias: str, arns: Sequence[str]) -> str:
    if missing := unapplied(alias):
        raise CheckFailed(f"Not applied: {', '.join(missing)}.", PREPARE)
    return ""


def indexes(alias: str, arns: Sequence[str]) -> str:
    invalid = [row[0] for row in fetch(alias, INVALID_INDEXES)]
    if invalid:
        hint = "Wait for its job (sys.jobs), or drop it and migrate again."
        raise CheckFailed(f"Not valid: {', '.join(invalid)}.", hint)
    return ""


def jobs(alias: str, arns: Sequence[str]) -> str:
    failed = [
        f"{kind} {name} {status}{f': {details}' if details else ''}"
        for name, kind, status, details in fetch(alias, FAILED_JOBS)
    ]
    if failed:
        hint = "Mend its cause and start it again; AWS forgets old jobs after a while."
        raise CheckFailed(f"{'; '.join(failed)}.", hint)
    return ""


def rights(alias: str, arns: Sequence[str]) -> str:
    """The runtime role may change rows, all of them, and nothing else."""
    attributes = fetch(alias, ATTRIBUTES, RUNTIME_ROLE)
    if not attributes:
        raise CheckFailed(f"There is no role {RUNTIME_ROLE}.", PREPARE)
    *powers, may_log_in = attributes[0]
    names = ("SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS")
    excess = [name for name, has in zip(names, powers, strict=True) if has]
    excess += [f"member of {row[0]}" for row in fetch(alias, MEMBERSHIPS, RUNTIME_ROLE)]
    excess += [row[0] for row in fetch(alias, EXCESS, *[RUNTIME_ROLE] * 3)]
    if excess:
        raise CheckFailed(
            f"{RUNTIME_ROLE} has too many rights: {', '.join(excess)}.",
            f"Take them away as admin: REVOKE … FROM {RUNTIME_ROLE}, or ALTER ROLE.",
        )
    missing = [
        f"{privilege} on {table}"
        for table, privilege in fetch(alias, MISSING_PRIVILEGES, RUNTIME_ROLE)
    ]
    missing += [] if may_log_in else ["LOGIN"]
    if missing:
        raise CheckFailed(f"{RUNTIME_ROLE} lacks {', '.join(missing)}.", PREPARE)
    return f"{RUNTIME_ROLE} may change rows, nothing else"


def mapping(alias: str, arns: Sequence[str]) -> str:
    mapped = {row[0] for row in fetch(alias, MAPPED, RUNTIME_ROLE)}
    if missing := [arn for arn in arns if arn not in mapped]:
        raise CheckFailed(
            f"{RUNTIME_ROLE} is not granted to {', '.join(missing)}.",
            f"{PREPARE}, with --role-arn if the runtime role has another name.",
        )
    return ", ".join(arn.rpartition("/")[2] for arn in arns)


def _login_hint(error: str) -> str:
    for part, hint in (
        ("access denied", "Check the credentials and the right dsql:DbConnectAdmin."),
        ("certificate verify failed", "Check PGSSLROOTCERT; unset it for AWS itself."),
        ("onnection refused", "Is the sandbox up? manage.py sandbox up"),
        ("resolve", "Check the endpoint's name and the network."),
    ):
        if part in error:
            return hint
    return ""
