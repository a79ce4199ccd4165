"""Waiting until an endpoint accepts a login, which may take some time after ACTIVE.

The name of a new endpoint need not resolve everywhere at once, and a cluster that was
idle wakes up first.
"""

import time
from collections.abc import Callable

from django.db import DatabaseError, connections

from config.dsql.credentials import CredentialsUnavailable
from config.dsql.deadlines import within
from config.dsql.endpoints import ConnectFailure, classify_failure
from ops.clusters.apply import ApplyError
from ops.clusters.database import connected
from ops.clusters.inventory import Cluster
from ops.target import manage

LOGIN_SECONDS = 120.0  # for one endpoint
PAUSE_SECONDS = 2.0


def log_in(endpoint: str, seconds: float) -> None:
    """Open a connection as admin within that time and close it. Raises DatabaseError."""
    with connected(endpoint) as alias, within(seconds):
        connections[alias].ensure_connection()


def await_login(cluster: Cluster, say: Callable[[str], None]) -> None:
    """Try until the cluster's endpoint accepts a login; says each new reason to wait.

    Raises ApplyError when the time is over, or at once when waiting cannot help.
    """
    begun, reason = time.monotonic(), ""
    while True:
        left = begun + LOGIN_SECONDS - time.monotonic()
        try:
            log_in(cluster.endpoint, left)
        except DatabaseError as error:
            text = " ".join(str(error).split())
            if isinstance(error, CredentialsUnavailable):
                raise _refused(cluster, "was not asked", text) from error
            if classify_failure(error) is ConnectFailure.REFUSED:
                raise _refused(cluster, "refuses the login", text) from error
            if left <= PAUSE_SECONDS:
                waited = f"accepted no login in {LOGIN_SECONDS:.0f} s"
                raise _refused(cluster, waited, text) from error
            if text != reason:
                say(
                    f"{cluster.region}: {cluster.endpoint} accepts no login yet: {text}"
                )
                reason = text
        else:
            say(f"{cluster.region}: {cluster.endpoint} accepts logins")
            return
        time.sleep(PAUSE_SECONDS)


def login_hint(error: str) -> str:
    """The remedy for a login that failed with that text; empty when none is known."""
    for part, remedy in (
        (
            "access denied",
            "Check the credentials and the permission dsql:DbConnectAdmin.",
        ),
        ("certificate verify failed", "Check PGSSLROOTCERT; unset it for AWS itself."),
        ("connection refused", "Start the sandbox if it is down: manage.py sandbox up"),
        ("resolve", "Check the endpoint's name and the network."),
        ("no response", "Check that this machine may reach the endpoint's port 5432."),
    ):
        if part in error.lower():
            return remedy
    return ""


def _refused(cluster: Cluster, what: str, reason: str) -> ApplyError:
    lines = (
        f"{cluster.region}: {cluster.endpoint} {what}: {reason}",
        login_hint(reason),
        f"To continue: {manage('dsql_provision')}",
    )
    return ApplyError("\n".join(filter(None, lines)))
