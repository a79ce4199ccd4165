"""What the sessions of one cluster must know of each other."""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

KEPT_KEYS = 10_000  # that committed transactions had locked and are remembered
Key = list[str]  # table, key as JSON, who wrote the row, strength of the lock


class Peer(Protocol):
    """A session as the others see it."""

    def release_locks(self, *, tables: bool) -> None:
        """Free all locks on rows as soon as no statement is under way.

        A session that has to free ``tables`` aborts its open transaction.
        """

    def resume(self) -> None:
        """A job that was waited for has ended."""

    def adopt_change(self) -> None:
        """Take the newest change of the catalog for its own."""


@dataclass(slots=True, eq=False)
class Announcement:
    """A transaction that is about to commit, or has."""

    number: int
    keys: list[Key]  # that it had locked


@dataclass(slots=True)
class Peers:
    """The sessions of one cluster and what they must know of each other.

    ``submitted`` is called when a transaction has left jobs to do.
    """

    submitted: Callable[[], None] = lambda: None
    sessions: set[Peer] = field(default_factory=set)
    catalog: int = 0  # how often it changed
    commits: int = 0  # of transactions that changed or locked something
    # Whether a foreign key changes rows by itself, and under which ``catalog``.
    cascades: tuple[int, bool] = (-1, False)
    # Functions that are known to write nothing, and under which ``catalog``.
    readers: tuple[int, set[str]] = field(default_factory=lambda: (-1, set()))
    # Sessions whose COMMIT of a catalog change is under way.
    _changing: set[Peer] = field(default_factory=set)
    _announced: deque[Announcement] = field(default_factory=deque)  # with keys
    _keys: int = 0  # in these
    # Jobs under way, with the sessions that started them.
    _jobs: dict[str, Peer | None] = field(default_factory=dict)
    _waiting: dict[str, set[Peer]] = field(default_factory=dict)

    def are_readers(self, calls: frozenset[str]) -> bool:
        """Whether none of these functions writes, as far as is known."""
        return not calls or (
            self.readers[0] == self.catalog and calls <= self.readers[1]
        )

    def begin_change(self, session: Peer) -> None:
        """The session is about to commit a change of the catalog."""
        self._changing.add(session)

    def end_change(self, session: Peer, *, committed: bool) -> None:
        self._changing.discard(session)
        if committed:
            self.catalog += 1

    def is_catalog_newer(self, seen: int | None, session: Peer) -> bool:
        """Whether others have changed the catalog since ``seen``, or may have just now."""
        return seen != self.catalog or bool(self._changing - {session})

    def leave(self, session: Peer) -> None:
        self.sessions.discard(session)
        # A client that is lost while its COMMIT is under way does not learn of its end.
        self.end_change(session, committed=session in self._changing)
        for waiting in self._waiting.values():
            waiting.discard(session)

    def request_locks(self, asker: Peer | None, *, tables: bool = False) -> None:
        for session in [s for s in self.sessions if s is not asker]:
            session.release_locks(tables=tables)

    def announce(self, keys: list[Key]) -> Announcement:
        """A COMMIT is about to be sent: sessions that wait for its locks must know its keys."""
        self.commits += 1
        announcement = Announcement(self.commits, keys)
        if keys:
            self._announced.append(announcement)
            self._keys += len(keys)
        while self._keys > KEPT_KEYS and len(self._announced) > 1:
            self._keys -= len(self._announced.popleft().keys)
        return announcement

    def confirm(self, announcement: Announcement) -> None:
        """It has committed: to all that began before now."""
        self.commits += 1
        announcement.number = self.commits

    def withdraw(self, announcement: Announcement) -> None:
        """It has not."""
        if announcement in self._announced:
            self._announced.remove(announcement)
            self._keys -= len(announcement.keys)

    def locked_since(self, commit: int) -> list[Key]:
        return [
            key
            for announcement in self._announced
            if announcement.number > commit
            for key in announcement.keys
        ]

    def submit(self, jobs: Iterable[str], owner: Peer | None) -> None:
        self._jobs |= dict.fromkeys(jobs, owner)
        self.submitted()

    def is_running(self, job: str | None, waiting: Peer) -> bool:
        """Whether the job is under way; then ``waiting`` is resumed when it ends."""
        if job not in self._jobs:
            return False
        self._waiting.setdefault(job, set()).add(waiting)
        return True

    def end_job(self, job: str, *, changes_catalog: bool) -> None:
        """Its session knows of the change, all others fail once."""
        owner = self._jobs.pop(job, None)
        if changes_catalog:
            self.catalog += 1
            if owner is not None:
                owner.adopt_change()
        for session in self._waiting.pop(job, set()):
            session.resume()
