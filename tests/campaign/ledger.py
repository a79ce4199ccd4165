"""What the database may hold after every answer, and the audit of what it holds."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MADE, UNMADE, UNKNOWN = "made", "not made", "unknown"
DOMAIN = "@example.com"


@dataclass
class Entry:
    """One user: by mark, what may be stored now. Writes of one user never overlap."""

    key: str | None = None  # unknown while its creation is
    possible: set[str] = field(default_factory=set)
    acknowledged: bool = False

    def wrote(self, mark: str, outcome: str) -> None:
        if outcome == MADE:
            self.possible, self.acknowledged = {mark}, True
        elif outcome == UNKNOWN:
            self.possible.add(mark)


class Ledger:
    """Shared by all writers. A mark is written once, into name and e-mail alike."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._lock = threading.Lock()

    def opened(self, mark: str, outcome: str, key: str | None) -> Entry:
        """Note a creation; the entry belongs to whoever made it."""
        entry = Entry(key)
        entry.wrote(mark, outcome)
        with self._lock:
            self.entries.append(entry)
        return entry

    def audit(self, rows: Iterable[Mapping[str, Any]]) -> list[str]:
        """Every contradiction between what was answered and the stored rows."""
        by_key = {row["id"]: row for row in rows}
        findings = [
            f"half-written row: {row['name']} beside {row['email']}"
            for row in by_key.values()
            if row["name"] + DOMAIN != row["email"]
        ]
        for entry in self.entries:
            row = by_key.pop(entry.key or "", None)
            if row is None and entry.acknowledged:
                findings.append(f"lost creation: {entry.key}")
            elif row is not None and row["name"] not in entry.possible:
                findings.append(
                    f"lost or unacknowledged write: {entry.key} holds {row['name']}, "
                    f"may hold {sorted(entry.possible)}"
                )
        orphans = {
            mark
            for entry in self.entries
            if entry.key is None
            for mark in entry.possible
        }
        findings += [
            f"row nobody was told of: {row['name']}"
            for row in by_key.values()
            if row["name"] not in orphans
        ]
        return findings
