"""Faults that the sandbox can inject: which, for whom, how often. No I/O, no clock.

``Faults`` holds those in force; ``ClientFaults`` consults them at each moment of one
connection. The texts are DSQL's: AWS user guide, "Troubleshooting issues in Aurora DSQL".
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

FOREVER = 0  # seconds: a session that no fault ends


class Fatal(NamedTuple):
    """How DSQL refuses a login."""

    sqlstate: str
    message: str
    hint: str = ""


# No source names the SQLSTATE of the first; it is likely that of the other refusals.
FATALS: Mapping[str, Fatal] = {
    "waking-up": Fatal(
        "08006", "unable to accept connection, waking up cluster, please retry later"
    ),
    "too-many-connections": Fatal(
        "53300", "Unable to accept connection, too many open connections."
    ),
    "rate-exceeded": Fatal("53400", "Unable to accept connection, rate exceeded."),
    "unavailable": Fatal("XX000", "server unavailable"),
    "expired-credentials": Fatal(
        "08006", "unable to accept connection, access denied", "Signature expired"
    ),
    "revoked-credentials": Fatal(
        "08006",
        "unable to accept connection, access denied",
        "The security token included in the request is invalid",
    ),
}
KINDS: Mapping[str, str] = {
    "down": "cut every connection now and refuse new ones",
    "refuse": "close new connections before login",
    "cut": "cut every connection, once, now",
    "connect-delay": "a login is completed --seconds later",
    "statement-delay": "what a client sends arrives --seconds later",
    "session-end": "connections end --seconds after their login, open ones too",
    "conflict": "COMMIT of a change fails with 40001 OC000; autocommit counts",
    "cut-before-statement": "cut at a statement (the --statement-th), not executed",
    "cut-after-statement": "cut when it was executed, before its response",
    "cut-after-commit": "cut when a change was committed, before the response",
    "cut-after-login": "cut after a login, before the first statement",
    "unavailable-at-statement": "XX000 for a statement (the --statement-th), undone",
    "unavailable-at-commit": "XX000 for COMMIT of a change, which is undone",
    "unavailable-after-commit": "XX000 for COMMIT of a change, which was made",
    "silent": "response nothing, neither logins nor statements, which are not executed",
    "silent-after-commit": "response nothing any more when a change was committed",
    **{name: f"refuse logins: {fatal.message}" for name, fatal in FATALS.items()},
    "api-denied": "the dsql API responds AccessDenied; --client names the action",
    "api-throttled": "the dsql API responds Throttling; --client names the action",
    "api-failed": "clusters created in the Region fail",
}
TIMED = {"connect-delay", "statement-delay", "session-end"}
COUNTED = {"cut-before-statement", "cut-after-statement", "unavailable-at-statement"}
AT_ONCE = {"cut", "down"}  # they cut what is open when they are added
PASSING = {"cut"}  # done when added: never in force


class FaultError(ValueError):
    """A fault that cannot be: the text says which part is wrong and what it may be."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault to inject. ``region`` and ``client`` (application_name) empty mean all of them."""

    kind: str
    region: str = ""
    client: str = ""
    times: int | None = None  # how often; None until cleared
    rate: float = 1.0  # the probability at each occasion
    seconds: float = 0.0
    statement: int | None = None  # the n-th of a connection; None is any
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise FaultError(f"Unknown fault {self.kind!r}; one of {', '.join(KINDS)}.")
        if self.kind in TIMED and self.seconds <= 0:
            raise FaultError(f"{self.kind} needs seconds above 0.")
        if not 0 < self.rate <= 1:
            raise FaultError(f"rate is {self.rate}; it must be above 0, at most 1.")
        if self.times is not None and self.times < 1:
            raise FaultError(f"times is {self.times}; it must be at least 1.")
        if self.statement is not None and self.kind not in COUNTED:
            raise FaultError(f"{self.kind} takes no statement number.")
        if self.statement is not None and self.statement < 1:
            raise FaultError(f"statement is {self.statement}; the first is 1.")

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Fault":
        try:
            return cls(**fields)
        except TypeError as error:
            raise FaultError(str(error)) from None

    def concerns(self, region: str, client: str) -> bool:
        return self.region in {"", region} and self.client in {"", client}


@dataclass(slots=True)
class Active:
    """A fault in force: what is left of it and how often it struck."""

    number: int
    fault: Fault
    struck: int = 0
    chance: random.Random = field(default_factory=random.Random)

    def strikes(self) -> bool:
        """Whether it does, now that its occasion has come."""
        if self.chance.random() >= self.fault.rate:
            return False
        self.struck += 1
        return True

    @property
    def spent(self) -> bool:
        return self.fault.times is not None and self.struck >= self.fault.times

    def as_json(self) -> dict[str, Any]:
        return {"number": self.number, "struck": self.struck, **asdict(self.fault)}


class Faults:
    """What was added and not cleared, in order; a spent one tells what it did."""

    def __init__(self) -> None:
        self._active: list[Active] = []
        self._added = 0

    def as_json(self) -> list[dict[str, Any]]:
        return [active.as_json() for active in self._active]

    def add(self, fault: Fault) -> Active:
        self._added += 1
        added = Active(
            self._added,
            fault,
            chance=random.Random(fault.seed),  # noqa: S311 - to be repeated, not secret
        )
        if fault.kind not in PASSING:
            self._active.append(added)
        return added

    def clear(self, number: int | None = None) -> int:
        """Lift one fault or all; how many there were."""
        left = [a for a in self._active if number is not None and a.number != number]
        lifted = len(self._active) - len(left)
        self._active = left
        return lifted

    def strike(
        self, kinds: Iterable[str], region: str, client: str, statement: int = 0
    ) -> Fault | None:
        """The first fault of those kinds that strikes on this occasion."""
        for active in self._active:
            fault = active.fault
            if (
                fault.kind in kinds
                and not active.spent
                and fault.concerns(region, client)
                and fault.statement in {None, statement}
                and active.strikes()
            ):
                return fault
        return None


@dataclass(slots=True)
class ClientFaults:
    """The moments of one connection at which something may go wrong."""

    faults: Faults
    region: str = ""
    client: str = ""
    statements: int = 0

    def _strike(self, *kinds: str) -> Fault | None:
        return self.faults.strike(kinds, self.region, self.client, self.statements)

    def connect_delay(self) -> float:
        struck = self._strike("connect-delay")
        return struck.seconds if struck else 0.0

    def refuses(self) -> bool:
        """Whether the connection ends without a word."""
        return self._strike("down", "refuse") is not None

    def fatal(self) -> Fatal | None:
        """The refusal of the login."""
        struck = self._strike(*FATALS)
        return FATALS[struck.kind] if struck else None

    def session_end(self) -> float:
        """Seconds after the login at which the session ends, or FOREVER."""
        struck = self._strike("session-end")
        return struck.seconds if struck else FOREVER

    def statement_delay(self) -> float:
        struck = self._strike("statement-delay")
        return struck.seconds if struck else 0.0

    def cuts_before(self) -> bool:
        """Count a statement; whether the connection ends before it is executed."""
        self.statements += 1
        return self._strike("cut-before-statement") is not None

    def conflict(self) -> bool:
        return self._strike("conflict") is not None

    def silent(self) -> bool:
        """Whether what arrives is lost, and whatever comes after it."""
        return self._strike("silent") is not None

    def cuts_after_login(self) -> bool:
        return self._strike("cut-after-login") is not None

    def unavailable(self) -> bool:
        """Whether the statement that was just counted is refused."""
        return self._strike("unavailable-at-statement") is not None

    def unavailable_at_commit(self) -> bool:
        return self._strike("unavailable-at-commit") is not None

    def unavailable_after_commit(self) -> bool:
        return self._strike("unavailable-after-commit") is not None

    def silent_after_commit(self) -> bool:
        return self._strike("silent-after-commit") is not None

    def cuts_after(self, *, committed: bool) -> bool:
        """Whether the connection ends before the response to what was executed."""
        if committed and self._strike("cut-after-commit") is not None:
            return True
        return self._strike("cut-after-statement") is not None
