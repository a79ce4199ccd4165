"""Checks through one endpoint, as admin; each takes the alias and the ARNs of the IAM roles."""

from collections.abc import Sequence
from typing import Any

from django.db import DatabaseError, connections

from config.api.health import unapplied
from config.dsql.conflicts import sqlstates
from ops.clusters import rights as role_rights
from ops.clusters.database import MAPPED, RUNTIME_ROLE, Row, fetch
from ops.clusters.login import login_hint
from ops.clusters.outcomes import CheckFailed, CheckWarning
from ops.clusters.rights import SCHEMA, TABLES
from ops.target import manage

INVALID_INDEXES = """
    SELECT x.relname FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
    JOIN pg_namespace n ON n.oid = x.relnamespace
    WHERE NOT i.indisvalid AND n.nspname = current_schema() ORDER BY x.relname
"""
FAILED_JOBS = """
    SELECT job_id, job_type, status, details FROM sys.jobs
    WHERE status IN ('failed', 'cancelled') ORDER BY job_id
"""
ATTRIBUTES = """
    SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin
    FROM pg_roles WHERE rolname = %s
"""
OWNED = """
    SELECT c.relname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
    WHERE r.rolname = %s ORDER BY c.relname
"""
MEMBERSHIPS = """
    SELECT granted.rolname FROM pg_auth_members m
    JOIN pg_roles granted ON granted.oid = m.roleid
    JOIN pg_roles member ON member.oid = m.member
    WHERE member.rolname = %s ORDER BY granted.rolname
"""
# Not supported, not permitted, no such relation, column or function.
REFUSALS = {"0A000", "42501", "42P01", "42703", "42883"}


def read(alias: str, sql: str, *params: Any) -> list[Row]:
    """Rows of the catalog. Raises CheckWarning when DSQL refuses to show them."""
    try:
        return fetch(alias, sql, *params)
    except DatabaseError as error:
        if not sqlstates(error) & REFUSALS:
            raise
        text = " ".join(str(error).split())
        raise CheckWarning(
            f"The database refuses to show what this check reads: {text}",
            "Nothing is known to be wrong; check it by hand, as admin.",
        ) from error


def login(alias: str, arns: Sequence[str]) -> str:
    """TLS with a verified name, and a token that the endpoint accepts."""
    try:
        connections[alias].ensure_connection()
    except DatabaseError as error:
        text = " ".join(str(error).split())
        raise CheckFailed(text, login_hint(text)) from error
    raw: Any = connections[alias].connection
    if not raw.pgconn.ssl_in_use:
        raise CheckFailed("The connection is not encrypted.", "Remove sslmode.")
    return str(connections[alias].settings_dict["HOST"])


def migrations(alias: str, arns: Sequence[str]) -> str:
    if missing := unapplied(alias):
        raise CheckFailed(
            f"Not applied: {', '.join(missing)}.", manage("dsql_database")
        )
    return ""


def indexes(alias: str, arns: Sequence[str]) -> str:
    invalid = [row[0] for row in read(alias, INVALID_INDEXES)]
    if invalid:
        hint = "Wait for its job (sys.jobs), or drop it and migrate again."
        raise CheckFailed(f"Not valid: {', '.join(invalid)}.", hint)
    return ""


def jobs(alias: str, arns: Sequence[str]) -> str:
    failed = [
        f"{kind} {name} {status}{f': {details}' if details else ''}"
        for name, kind, status, details in read(alias, FAILED_JOBS)
    ]
    if failed:
        hint = "Fix its cause and start it again; AWS removes old jobs from the list after a while."
        raise CheckFailed(f"{'; '.join(failed)}.", hint)
    return ""


def rights(alias: str, arns: Sequence[str]) -> str:
    """The runtime role may change the rows of every table, and nothing else."""
    attributes = read(alias, ATTRIBUTES, RUNTIME_ROLE)
    if not attributes:
        raise CheckFailed(
            f"The role {RUNTIME_ROLE} does not exist.", manage("dsql_database")
        )
    *powers, may_log_in = attributes[0]
    names = ("SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS")
    excess = [name for name, has in zip(names, powers, strict=True) if has]
    tables = read(alias, TABLES)
    excess += role_rights.find_excess(tables, read(alias, SCHEMA), RUNTIME_ROLE)
    excess += [f"owns {row[0]}" for row in read(alias, OWNED, RUNTIME_ROLE)]
    unread = None
    try:
        memberships = read(alias, MEMBERSHIPS, RUNTIME_ROLE)
        excess += [f"member of {row[0]}" for row in memberships]
    except CheckWarning as warning:
        unread = warning
    if excess:
        raise CheckFailed(
            f"{RUNTIME_ROLE} has too many rights: {', '.join(excess)}.",
            f"Revoke them as admin: REVOKE … FROM {RUNTIME_ROLE}, or ALTER ROLE.",
        )
    missing = [
        f"{privilege} on {table}"
        for table, privileges in role_rights.find_lacking(tables, RUNTIME_ROLE).items()
        for privilege in privileges
    ]
    missing += [] if may_log_in else ["LOGIN"]
    if missing:
        raise CheckFailed(
            f"{RUNTIME_ROLE} lacks {', '.join(missing)}.", manage("dsql_database")
        )
    if unread is not None:
        raise unread
    return f"{RUNTIME_ROLE} may change rows, nothing else"


def mapping(alias: str, arns: Sequence[str]) -> str:
    mapped = {row[0] for row in read(alias, MAPPED, RUNTIME_ROLE)}
    if missing := [arn for arn in arns if arn not in mapped]:
        raise CheckFailed(
            f"{RUNTIME_ROLE} is not granted to {', '.join(missing)}.",
            f"{manage('dsql_database')}, with --role-arn if the runtime role has another name.",
        )
    return ", ".join(arn.rpartition("/")[2] for arn in arns)
