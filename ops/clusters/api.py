"""The served APIs of the Regions, as the operator names them."""

import re

from django.core.management.base import CommandError

from ops.topology import Topology

URL = re.compile(r"https?://[^\s/]+(/[^\s?#]*)?")


def api_urls(topology: Topology, texts: list[str]) -> dict[str, str]:
    """``ROLE=URL`` arguments by role. Raises CommandError naming the wrong one."""
    found: dict[str, str] = {}
    for text in texts:
        role, _, url = text.partition("=")
        if role not in topology.regions or not URL.fullmatch(url):
            raise CommandError(
                f"--api-url {text!r} is not ROLE=URL, such as "
                f"primary=https://abc.execute-api.us-east-1.amazonaws.com/prod"
            )
        found[role] = url.rstrip("/")
    return found
