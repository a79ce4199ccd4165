"""What a session puts between its client's messages so that their names are right.

The session's own requests destroy unnamed statements and portals, a statement that is
undone destroys what it bound, and table names may mean other tables by now.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ops.local.sandbox import messages
from ops.local.sandbox.names import Portal, Prepared

PARSE, BIND, DESCRIBE = b"PBD"


@dataclass(frozen=True, slots=True)
class Unit:
    """A message for PostgreSQL, with what it prepares, describes, binds or runs."""

    frame: bytes
    prepared: Prepared | None = None
    portal: Portal | None = None

    @property
    def name(self) -> str:
        """The first name in it."""
        return messages.cstring(self.frame, 6 if self.frame[0] == DESCRIBE else 5)[0]


@dataclass(slots=True)
class Repairs:
    """Builds what is sent for a group of messages.

    ``known`` is what PostgreSQL has under the empty name, ``text`` what a prepared
    statement shall run now. ``again`` when the group was sent and undone before.
    """

    known: Prepared | None
    text: Callable[[Prepared], str]
    again: bool
    parts: list[bytes] = field(default_factory=list)
    hidden: set[int] = field(default_factory=set)
    # The first part that replaces what PostgreSQL has under the empty name.
    replaced_at: int | None = None
    _bound: set[Portal] = field(default_factory=set)

    def add(self, group: Sequence[Unit]) -> None:
        if self.again:
            self.known = None
        for unit in group:
            kind = unit.frame[0]
            if kind == PARSE:
                self._parse(unit)
            elif unit.portal is None:
                self._describe(unit)
            elif kind == BIND:
                self._bind(unit, unit.portal)
            else:
                self._run(unit, unit.portal)

    def _parse(self, unit: Unit) -> None:
        if self.again and unit.name:
            self._hide(b"C", messages.cstrings("S" + unit.name))
        if not unit.name:
            self.known = unit.prepared
            self._replace()
        self.parts.append(unit.frame)

    def _describe(self, unit: Unit) -> None:
        prepared = unit.prepared
        if prepared is not None and not unit.name and prepared is not self.known:
            self._replace()
            self._hide(b"P", self._parsed("", prepared, prepared.statement.sql))
            self.known = prepared
        self.parts.append(unit.frame)

    def _bind(self, unit: Unit, portal: Portal) -> None:
        prepared, frame = portal.prepared, unit.frame
        self._bound.add(portal)
        if self._moved(prepared) or (not portal.source and prepared is not self.known):
            self._prepare(prepared)
            frame = self._bind_message(unit.name, portal)
        self.parts.append(frame)

    def _run(self, unit: Unit, portal: Portal) -> None:
        lost = self.again or not portal.alive or self._moved(portal.prepared)
        if lost and not portal.started and portal not in self._bound:
            self._bound.add(portal)
            self._hide(b"C", messages.cstrings("P" + unit.name))
            self._prepare(portal.prepared)
            self.hidden.add(len(self.parts))
            self.parts.append(self._bind_message(unit.name, portal))
        self.parts.append(unit.frame)

    def _prepare(self, prepared: Prepared) -> None:
        text = self.text(prepared)
        self._replace()
        self._hide(b"P", self._parsed("", prepared, text))
        self.known = prepared if text == prepared.statement.sql else None

    def _replace(self) -> None:
        if self.replaced_at is None:
            self.replaced_at = len(self.parts)

    def _moved(self, prepared: Prepared) -> bool:
        return self.text(prepared) != prepared.statement.sql

    def _hide(self, kind: bytes, payload: bytes) -> None:
        self.hidden.add(len(self.parts))
        self.parts.append(messages.message(kind, payload))

    @staticmethod
    def _parsed(name: str, prepared: Prepared, text: str) -> bytes:
        return messages.cstrings(name, text) + prepared.types

    @staticmethod
    def _bind_message(name: str, portal: Portal) -> bytes:
        return messages.message(b"B", messages.cstrings(name, "") + portal.values)
