"""Prepared statements and portals of one session, as PostgreSQL has acknowledged them.

A name is entered when its message is about to be sent and taken back when PostgreSQL
does not acknowledge the message: what was refused never runs under that name.
"""

from dataclasses import dataclass, field
from typing import Any

from ops.local.sandbox.rules import Statement


@dataclass(slots=True, eq=False)
class Prepared:
    """A Parse: its verdict, and the types of its parameters as they were sent."""

    statement: Statement
    types: bytes


@dataclass(slots=True, eq=False)
class Portal:
    """A Bind: what it runs, and the message, should it be said again."""

    prepared: Prepared
    source: str  # the prepared statement's name
    values: bytes  # what follows the two names
    started: bool = False
    alive: bool = True  # False: PostgreSQL has forgotten it, its client has not
    failed: bool = False  # bound before the transaction failed: not even ROLLBACK runs


@dataclass(slots=True)
class Names:
    statements: dict[str, Prepared] = field(default_factory=dict)
    portals: dict[str, Portal] = field(default_factory=dict)
    # What PostgreSQL has under the empty name: every Query of the session destroys it.
    unnamed: Prepared | None = None
    # Per message that is not acknowledged: where it wrote, the name, what stood there.
    _pending: list[tuple[dict[str, Any], str, Any] | None] = field(default_factory=list)

    def parse(self, name: str, prepared: Prepared) -> None:
        self._enter(self.statements, name, prepared)

    def bind(self, portal: str, name: str, values: bytes) -> Portal | None:
        """None for an unknown statement: PostgreSQL words the error."""
        prepared = self.statements.get(name)
        if prepared is None:
            self.enter_nothing()
            return None
        found = Portal(prepared, name, values)
        self._enter(self.portals, portal, found)
        return found

    def close(self, kind: int, name: str) -> None:
        self._enter(self.statements if kind == b"S"[0] else self.portals, name, None)

    def enter_nothing(self) -> None:
        """A message that names nothing new."""
        self._pending.append(None)

    def acknowledge(self, acknowledged: int) -> None:
        """Take back what was not acknowledged; the first such message has failed."""
        failed = self._pending[acknowledged:]
        for entry in reversed(failed):
            self._restore(entry)
        if failed:
            first = failed[0]
            if first is not None and first[0] is self.statements and not first[1]:
                # PostgreSQL drops the old unnamed statement before it reads the new one.
                self.statements.pop("", None)
        self._pending.clear()

    def acknowledge_all(self) -> None:
        """Everything was acknowledged."""
        self._pending.clear()

    def revert(self) -> None:
        """Nothing was sent."""
        for entry in reversed(self._pending):
            self._restore(entry)
        self._pending.clear()

    def invalidate_portals(self) -> None:
        """What they were bound in is undone."""
        for portal in self.portals.values():
            portal.alive = False

    def fail_portals(self) -> None:
        """The transaction failed: PostgreSQL drops what they would run."""
        for portal in self.portals.values():
            portal.failed = True

    def end_unnamed(self) -> None:
        """The session sends a Query of its own."""
        self.unnamed = None
        if (portal := self.portals.get("")) is not None:
            portal.alive = False

    def end_unnamed_of_client(self) -> None:
        """The client sends a Query: it ends the unnamed ones for the client too."""
        self.unnamed = None
        self.statements.pop("", None)
        self.portals.pop("", None)

    def deallocate(self, name: str) -> None:
        """DEALLOCATE; no name means all that have one."""
        for gone in [name] if name else [known for known in self.statements if known]:
            self.statements.pop(gone, None)

    def _enter(self, table: dict[str, Any], name: str, value: Any) -> None:
        self._pending.append((table, name, table.get(name)))
        if value is None:
            table.pop(name, None)
        else:
            table[name] = value

    @staticmethod
    def _restore(entry: tuple[dict[str, Any], str, Any] | None) -> None:
        if entry is None:
            return
        table, name, before = entry
        if before is None:
            table.pop(name, None)
        else:
            table[name] = before
