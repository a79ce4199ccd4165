"""One session's transaction beside those of others: its statements, and its end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ops.local.sandbox import conflicts, messages
from ops.local.sandbox.conflicts import BLOCKED, OC000, OC001, RIVALRY, Footprint
from ops.local.sandbox.exchanges import Exchange, Steps, Task, UpstreamError, error_in
from ops.local.sandbox.rules import Kind, Refusal, Statement, relations, with_shadows
from ops.local.sandbox.transactions import (
    UNAVAILABLE,
    AnsweredWithError,
    Refused,
    Transaction,
    Transactions,
)

# How often a statement is repeated while the sessions in its way step aside.
ATTEMPTS = 100
QUERIES = (Kind.READ, Kind.LOCK, Kind.WRITE)
CHANGES = (Kind.LOCK, Kind.WRITE, Kind.DDL)


@dataclass(slots=True, eq=False)
class Contention(Transactions):
    """The part of a session that knows of other sessions, and no protocol."""

    _is_large: bool = False  # what the client sent for the statement
    _partial: bool = False  # the client fetches the statement's rows in parts

    def _contends(self, statement: Statement) -> bool:
        return statement.kind in CHANGES or self._aside

    @property
    def _aside(self) -> bool:
        return self._txn.footprint is not None and self._txn.footprint.aside

    def _led(self, statement: Statement) -> str:
        footprint = self._txn.footprint
        if footprint is None or not footprint.aside:
            return statement.sql
        return with_shadows(statement.sql, footprint.shadows)

    def _contend(
        self, statement: Statement, work: Callable[[bool], Steps[list[bytes]]]
    ) -> Steps[list[bytes]]:
        """PostgreSQL's answer to a statement, whoever is in its way."""
        footprint = self._footprint(statement)
        before = None
        for attempt in range(ATTEMPTS):
            if footprint.aside:
                yield from self._shadow(statement, footprint)
            begin = self._status == "I"
            self._txn.opened = self._txn.opened or begin
            yield from conflicts.save(footprint, begin=begin)
            if (yield from self._measures(statement)):
                before = yield from conflicts.written_rows()
            answer = yield from work(attempt > 0)
            error = error_in(answer)
            if error is None and not (yield from self._overlooks(statement)):
                break
            if error is not None and not (yield from self._clear(statement, error)):
                return answer
        else:
            raise Refused(OC000)
        if statement.kind is Kind.WRITE and (statement.grows or self._is_large):
            yield from conflicts.check_last(relations(statement.sql))
        if before is not None:
            self._measured = (yield from conflicts.written_rows()) - before
        if statement.locks and self._txn.explicit:
            names = relations(statement.sql)
            yield from conflicts.note_locks(footprint, statement.locks, names)
        return answer

    def _shadow(self, statement: Statement, footprint: Footprint) -> Task:
        """Prepare the shadows for a statement that stays within them."""
        names = relations(statement.sql)
        if statement.kind in QUERIES and (
            yield from conflicts.passes_by(names, statement.calls)
        ):
            raise Refused(OC000)
        yield from conflicts.shadow_more(footprint)

    def _known(self, statement: Statement) -> Steps[Statement]:
        """The statement as a write if a function that it calls may write."""
        if statement.kind not in QUERIES or statement.refusal or self._aborted:
            return statement
        if not (yield from conflicts.find_writers(self.peers, statement.calls)):
            return statement
        return replace(statement, kind=Kind.WRITE, nested=True)

    def _measures(self, statement: Statement) -> Steps[bool]:
        """Whether the statement may write rows that its tag does not count."""
        if statement.kind is not Kind.WRITE:
            return False
        if statement.nested or self._partial:
            return True
        return (yield from conflicts.find_cascades(self.peers))

    def _footprint(self, statement: Statement) -> Footprint:
        """What the transaction leaves behind, with this statement."""
        footprint = self._txn.footprint
        if footprint is None:
            footprint = Footprint(self._txn.since or 0, self._txn.constraints)
            self._txn.footprint = footprint
        if statement.kind in (Kind.LOCK, Kind.WRITE):
            footprint.texts.append(statement.sql)
        return footprint

    def _overlooks(self, statement: Statement) -> Steps[bool]:
        """Undo a statement that took a key which is taken under the snapshot."""
        footprint = self._txn.footprint
        if footprint is None or footprint.aside or statement.kind is not Kind.WRITE:
            return False
        if footprint.since == self.peers.commits:
            return False  # nobody has committed since
        if not (yield from conflicts.second_of_a_key(relations(statement.sql))):
            return False
        if not self._txn.explicit:
            raise Refused(OC000)
        yield from conflicts.take_back()
        yield from conflicts.step_aside(footprint)
        return True

    def _clear(self, statement: Statement, error: bytes) -> Steps[bool]:
        """Undo the statement and clear its way; False when nobody else stands in it."""
        footprint, sqlstate = self._txn.footprint, messages.sqlstate(error)
        if footprint is None or footprint.aside or sqlstate not in RIVALRY:
            return False
        alone = statement.kind is Kind.DDL or not self._txn.explicit
        if alone and sqlstate != BLOCKED:
            return False
        yield from conflicts.take_back()
        if alone:
            self.peers.free_locks(self, tables=statement.kind is Kind.DDL)
        else:
            yield from conflicts.step_aside(footprint)
        return True

    def _yield_locks(self) -> Task:
        footprint, tables = self._txn.footprint, self._asked_tables
        self._asked = self._asked_tables = False
        if tables or self._txn.ddl:
            if self._txn.since is not None:
                yield from self._lose(OC001)
        elif footprint is not None and footprint.saved and not footprint.aside:
            try:
                yield from conflicts.step_aside(footprint)
            except UpstreamError as error:
                yield from self._lose(self._verdict_on(error))

    def _lose(self, refusal: Refusal) -> Task:
        yield from self._fail()
        self._txn.lost = refusal

    # The end

    def _end(self, how: str) -> Task:
        committed = how == "COMMIT" and self._status == "T"
        if how == "COMMIT":
            yield from self._settle(commit=True)
        if self._status != "I":
            answer = yield Exchange(messages.query(how))
            if (error := error_in(answer)) is not None:
                self._over(committed=False)
                self._show_error(error)
                raise AnsweredWithError
        self._over(committed=committed)

    def _ended(self, statement: Statement, answer: Sequence[bytes]) -> None:
        error = error_in(answer)
        self._over(committed=statement.kind is Kind.COMMIT and error is None)
        if error is not None:
            self._show_error(error)
            raise AnsweredWithError

    def _begun(self) -> None:
        """PostgreSQL's state says whether a block is open: by BEGIN, or by AND CHAIN."""
        if self._status == "T" and not self._txn.explicit:
            self._txn.explicit, self._txn.started = True, self.clock()

    def _over(self, *, committed: bool) -> None:
        txn, self._txn = self._txn, Transaction()
        announced = txn.footprint.announced if txn.footprint is not None else None
        if announced is not None:
            settle = self.peers.confirm if committed else self.peers.withdraw
            settle(announced)
        if not committed:
            return
        self._committed = txn.ddl or txn.wrote
        if txn.ddl:
            self.peers.catalog += 1
            self._catalog = self.peers.catalog
            self.peers.submit(txn.jobs, self)

    def _settle(self, *, commit: bool = False) -> Task:
        """Have every conflict before COMMIT is sent; the first one ends the transaction.

        With ``commit`` it may be sent already: then the status is "I".
        """
        txn = self._txn
        try:
            self._check_faults()
            self._check_commit()
            if txn.footprint is not None and self._status == "T":
                yield from self._settle_with_others(txn.footprint, commit=commit)
        except Refused as error:
            yield from self._fail_commit(conflicts.refused(error.refusal))
        except UpstreamError as error:
            yield from self._fail_commit(self._translated(error.whole))

    def _check_faults(self) -> None:
        if self._txn.wrote and self.faults.conflict():
            raise Refused(OC000)
        if self._txn.wrote and self.faults.unavailable_at_commit():
            raise Refused(UNAVAILABLE)

    def _check_commit(self) -> None:
        if self._txn.lost is not None:
            raise Refused(self._txn.lost)
        self._check_age()
        if self._txn.explicit and self._txn.since is not None:
            self._check_catalog()

    def _settle_with_others(self, footprint: Footprint, *, commit: bool) -> Task:
        checked = False
        for _ in range(ATTEMPTS):
            if footprint.aside and not checked:
                yield from conflicts.check_own(footprint)
                checked = True
            try:
                yield from conflicts.before_commit(footprint, self.peers, commit=commit)
            except UpstreamError as error:
                yield from self._clear_commit(footprint, error)
            except conflicts.LockedByBothError:
                raise Refused(OC000) from None
            else:
                return
        raise Refused(OC000)

    def _clear_commit(self, footprint: Footprint, error: UpstreamError) -> Task:
        if error.sqlstate == BLOCKED:
            yield from conflicts.take_back()
            self.peers.free_locks(self)
        elif error.sqlstate not in RIVALRY:
            raise error
        elif footprint.aside:
            raise Refused(OC000)
        elif self._txn.explicit:
            # Only under the snapshot can be told whether another one is to blame.
            yield from conflicts.take_back()
            yield from conflicts.step_aside(footprint)
        else:
            raise error

    def _fail_commit(self, error: bytes) -> Task:
        yield Exchange(messages.query("ROLLBACK"))
        self._to_client.append(error)
        self._over(committed=False)
        raise AnsweredWithError
