"""What a command is about to talk to, said before it does."""

import os

from django.conf import settings

from config.dsql.tokens import region_of


def describe() -> str:
    """One line: the endpoints' Regions, and whether they are a sandbox's."""
    hosts = [settings.DATABASES["default"]["HOST"], settings.DSQL_PEER_ENDPOINT]
    regions = " and ".join(region_of(host) or host for host in hosts if host)
    address = os.environ.get("PGHOSTADDR")
    if address:
        authority = os.environ.get("PGSSLROOTCERT", "its CA")
        return f"Target: the sandbox at {address}, {regions} (CA {authority})"
    return f"Target: Aurora DSQL in {regions} ({', '.join(h for h in hosts if h)})"
