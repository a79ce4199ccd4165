"""Whether a process that loses its local endpoint is served by the peer endpoint."""

from typing import Any

from django.db import connections


def settings_for(host: str, **options: Any) -> dict[str, Any]:
    """The default database's settings for another endpoint, without a peer endpoint."""
    default = connections.databases["default"]
    kept = {k: v for k, v in default["OPTIONS"].items() if k != "peer_host"}
    return {**default, "HOST": host, "OPTIONS": {**kept, **options}}


def find_failover_region(local: str, peer: str) -> str | None:
    """The Region that serves a process which avoids its local endpoint.

    None when the local endpoint serves all the same. Raises DatabaseError when neither does.
    """
    alias = f"verify-without-{local}"
    connections.databases[alias] = settings_for(local, peer_host=peer)
    wrapper: Any = connections[alias]

    try:
        known = wrapper.known_endpoints(wrapper.get_connection_params())
        with known.avoid_local(), wrapper.cursor() as cursor:
            cursor.execute("SELECT 1")
        found: str | None = wrapper.peer_region
        return found
    finally:
        wrapper.close()
        del connections[alias]
        del connections.databases[alias]
