"""Where sources differ or are silent: what the sandbox can be made to assume.

Without an assumption the stricter behaviour is the one. A process holds one set of
assumptions from its start.
"""

from collections.abc import Iterable

ASSUMPTIONS = {
    "plpgsql": "PL/pgSQL functions, procedures and DO work (undated AWS page; refused live)",
    "session-characteristics": "SET SESSION CHARACTERISTICS works (one live report)",
    "deallocate-name": "DEALLOCATE takes a name (AWS's grammar knows ALL only)",
    "skip-locked": "NOWAIT and SKIP LOCKED are taken and mean nothing (AWS's grammar)",
    "unique-enforced": "a unique index is enforced while it is built (agent-plugins)",
    "no-deferrable-unique": "UNIQUE constraints cannot be deferrable (no source)",
    "no-copy": "COPY FROM STDIN is refused (older documentation)",
    "columns-255": "a table has 255 columns at most (documented; 256 seen live)",
}
_assumed: frozenset[str] = frozenset()


class UnknownAssumptionError(Exception):
    """No assumption has that name; the text lists those that exist."""


def check(names: Iterable[str]) -> frozenset[str]:
    """Raises UnknownAssumptionError."""
    found = frozenset(names)
    if unknown := sorted(found - ASSUMPTIONS.keys()):
        known = ", ".join(sorted(ASSUMPTIONS))
        raise UnknownAssumptionError(
            f"There is no assumption {unknown[0]!r}; there are: {known}."
        )
    return found


def assume(names: Iterable[str]) -> None:
    """Judge by these from now on. Raises UnknownAssumptionError."""
    global _assumed
    _assumed = check(names)


def is_assumed(name: str) -> bool:
    return name in _assumed
