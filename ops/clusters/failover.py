"""Whether a process whose own endpoint is lost is served by the peer's."""

from typing import Any

from django.db import connections


def settings_for(host: str, **options: Any) -> dict[str, Any]:
    """The default database's settings for another endpoint, without a peer of its own."""
    default = connections.databases["default"]
    kept = {k: v for k, v in default["OPTIONS"].items() if k != "peer_host"}
    return {**default, "HOST": host, "OPTIONS": {**kept, **options}}


def serving_without(own: str, peer: str) -> str | None:
    """The Region that serves a process of ``own`` which avoids it; None for its own.

    Raises DatabaseError when neither does.
    """
    alias = f"verify-without-{own}"
    connections.databases[alias] = settings_for(own, peer_host=peer)
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
