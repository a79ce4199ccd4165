"""What the ``dsql`` AWS API keeps in the sandbox's directory."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ops.files import write_private
from ops.local.sandbox.clusters import Cluster


def load(path: Path) -> dict[str, Any]:
    """What ``Control`` kept: clusters, client tokens, and who holds the data."""
    stored = json.loads(path.read_text()) if path.exists() else {}
    return {
        "clusters": [Cluster(**entry) for entry in stored.get("clusters", [])],
        "tokens": stored.get("tokens", {}),
        "holders": stored.get("holders", []),
    }


def save(path: Path, clusters: list[Cluster], holders: list[str]) -> None:
    """Write what a new ``Control`` begins with."""
    write_private(path, render(clusters, holders, {}))


def render(clusters: list[Cluster], holders: list[str], tokens: dict[str, Any]) -> str:
    return json.dumps(
        {
            "clusters": [asdict(cluster) for cluster in clusters],
            "holders": holders,
            "tokens": tokens,
        }
    )
