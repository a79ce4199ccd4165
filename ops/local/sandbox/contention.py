"""One session's transaction beside those of others: its statements, and its end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ops.local.sandbox import isolation, messages
from ops.local.sandbox.exchanges import Exchange, Steps, Task, UpstreamError, find_error
from ops.local.sandbox.isolation import (
    BLOCKED,
    CONFLICT_SQLSTATES,
    OC000,
    OC001,
    Footprint,
)
from ops.local.sandbox.rules import (
    Kind,
    Refusal,
    Statement,
    find_relations,
    redirect_to_shadows,
)
from ops.local.sandbox.transactions import (
    UNAVAILABLE,
    ErrorRelayed,
    Refused,
    Transaction,
    Transactions,
)

# How often a statement is repeated while the sessions in its way free their locks.
ATTEMPTS = 100
QUERIES = (Kind.READ, Kind.LOCK, Kind.WRITE)
CHANGES = (Kind.LOCK, Kind.WRITE, Kind.DDL)


@dataclass(slots=True, eq=False)
class Contention(Transactions):
    """The part of a session that knows of other sessions, and no protocol."""

    _is_large: bool = False  # what the client sent for the statement
    _partial: bool = False  # the client fetches the statement's rows in parts

    def _contends(self, statement: Statement) -> bool:
        return statement.kind in CHANGES or self._in_shadows

    @property
    def _in_shadows(self) -> bool:
        return self._txn.footprint is not None and self._txn.footprint.in_shadows

    def _redirected_sql(self, statement: Statement) -> str:
        footprint = self._txn.footprint
        if footprint is None or not footprint.in_shadows:
            return statement.sql
        return redirect_to_shadows(statement.sql, footprint.shadows)

    def _contend(
        self, statement: Statement, work: Callable[[bool], Steps[list[bytes]]]
    ) -> Steps[list[bytes]]:
        """PostgreSQL's response to a statement, despite the locks of other sessions."""
        footprint = self._footprint(statement)
        before = None
        for attempt in range(ATTEMPTS):
            if footprint.in_shadows:
                yield from self._shadow(statement, footprint)
            begin = self._status == "I"
            self._txn.opened = self._txn.opened or begin
            yield from isolation.renew_savepoints(footprint, begin=begin)
            if (yield from self._needs_row_count(statement)):
                before = yield from isolation.count_written_rows()
            response = yield from work(attempt > 0)
            error = find_error(response)
            if error is None and not (yield from self._undo_duplicate_key(statement)):
                break
            if error is not None and not (yield from self._clear_way(statement, error)):
                return response
        else:
            raise Refused(OC000)
        if statement.kind is Kind.WRITE and (statement.grows or self._is_large):
            yield from isolation.check_last_statement(find_relations(statement.sql))
        if before is not None:
            self._measured = (yield from isolation.count_written_rows()) - before
        if statement.locks and self._txn.explicit:
            names = find_relations(statement.sql)
            yield from isolation.note_locks(footprint, statement.locks, names)
        return response

    def _shadow(self, statement: Statement, footprint: Footprint) -> Task:
        """Prepare the shadows for a statement that stays within them."""
        names = find_relations(statement.sql)
        if statement.kind in QUERIES and (
            yield from isolation.bypasses_shadows(names, statement.calls)
        ):
            raise Refused(OC000)
        yield from isolation.shadow_more(footprint)

    def _classify(self, statement: Statement) -> Steps[Statement]:
        """The statement as a write if a function that it calls may write."""
        if statement.kind not in QUERIES or statement.refusal or self._aborted:
            return statement
        if not (
            yield from isolation.find_writing_functions(self.peers, statement.calls)
        ):
            return statement
        return replace(statement, kind=Kind.WRITE, nested=True)

    def _needs_row_count(self, statement: Statement) -> Steps[bool]:
        """Whether the statement may write rows that its tag does not count."""
        if statement.kind is not Kind.WRITE:
            return False
        if statement.nested or self._partial:
            return True
        return (yield from isolation.find_cascades(self.peers))

    def _footprint(self, statement: Statement) -> Footprint:
        """What the transaction leaves behind, with this statement."""
        footprint = self._txn.footprint
        if footprint is None:
            footprint = Footprint(self._txn.since or 0, self._txn.constraints)
            self._txn.footprint = footprint
        if statement.kind in (Kind.LOCK, Kind.WRITE):
            footprint.texts.append(statement.sql)
        return footprint

    def _undo_duplicate_key(self, statement: Statement) -> Steps[bool]:
        """Undo a statement that took a key which is taken under the snapshot."""
        footprint = self._txn.footprint
        if (
            footprint is None
            or footprint.in_shadows
            or statement.kind is not Kind.WRITE
        ):
            return False
        if footprint.since == self.peers.commits:
            return False  # no other transaction has committed since
        if not (yield from isolation.has_duplicate_key(find_relations(statement.sql))):
            return False
        if not self._txn.explicit:
            raise Refused(OC000)
        yield from isolation.undo_statement()
        yield from isolation.move_to_shadows(footprint)
        return True

    def _clear_way(self, statement: Statement, error: bytes) -> Steps[bool]:
        """Undo the statement and clear its way; False when no other session is in it."""
        footprint, sqlstate = self._txn.footprint, messages.sqlstate(error)
        if (
            footprint is None
            or footprint.in_shadows
            or sqlstate not in CONFLICT_SQLSTATES
        ):
            return False
        alone = statement.kind is Kind.DDL or not self._txn.explicit
        if alone and sqlstate != BLOCKED:
            return False
        yield from isolation.undo_statement()
        if alone:
            self.peers.request_locks(self, tables=statement.kind is Kind.DDL)
        else:
            yield from isolation.move_to_shadows(footprint)
        return True

    def _release_locks(self) -> Task:
        footprint, tables = self._txn.footprint, self._tables_requested
        self._locks_requested = self._tables_requested = False
        if tables or self._txn.ddl:
            if self._txn.since is not None:
                yield from self._abort_with(OC001)
        elif footprint is not None and footprint.saved and not footprint.in_shadows:
            try:
                yield from isolation.move_to_shadows(footprint)
            except UpstreamError as error:
                yield from self._abort_with(self._classify_error(error))

    def _abort_with(self, refusal: Refusal) -> Task:
        yield from self._fail()
        self._txn.abort_reason = refusal

    # The end

    def _end(self, how: str) -> Task:
        committed = how == "COMMIT" and self._status == "T"
        if how == "COMMIT":
            yield from self._prepare_commit(commit=True)
        if self._status != "I":
            response = yield Exchange(messages.query(how))
            if (error := find_error(response)) is not None:
                self._close_transaction(committed=False)
                self._relay_error(error)
                raise ErrorRelayed
        self._close_transaction(committed=committed)

    def _handle_end(self, statement: Statement, response: Sequence[bytes]) -> None:
        error = find_error(response)
        self._close_transaction(
            committed=statement.kind is Kind.COMMIT and error is None
        )
        if error is not None:
            self._relay_error(error)
            raise ErrorRelayed

    def _note_begin(self) -> None:
        """PostgreSQL's state says whether a block is open: by BEGIN, or by AND CHAIN."""
        if self._status == "T" and not self._txn.explicit:
            self._txn.explicit, self._txn.started = True, self.clock()

    def _close_transaction(self, *, committed: bool) -> None:
        txn, self._txn = self._txn, Transaction()
        announced = txn.footprint.announced if txn.footprint is not None else None
        if announced is not None:
            settle = self.peers.confirm if committed else self.peers.withdraw
            settle(announced)
        if txn.ddl:
            self.peers.end_change(self, committed=committed)
        if not committed:
            return
        self._committed = txn.ddl or txn.wrote
        if txn.ddl:
            self._catalog = self.peers.catalog
            self.peers.submit(txn.jobs, self)

    def _prepare_commit(self, *, commit: bool = False) -> Task:
        """Have every conflict before COMMIT is sent; the first one ends the transaction.

        With ``commit`` it may be sent already: then the status is "I".
        """
        txn = self._txn
        try:
            self._check_faults()
            self._check_commit()
            if txn.ddl:
                self.peers.begin_change(self)
            if txn.footprint is not None and self._status == "T":
                yield from self._resolve_conflicts(txn.footprint, commit=commit)
        except Refused as error:
            yield from self._fail_commit(isolation.encode_refusal(error.refusal))
        except UpstreamError as error:
            yield from self._fail_commit(self._translate_error(error.frame))

    def _check_faults(self) -> None:
        if self._txn.wrote and self.faults.conflict():
            raise Refused(OC000)
        if self._txn.wrote and self.faults.unavailable_at_commit():
            raise Refused(UNAVAILABLE)

    def _check_commit(self) -> None:
        if self._txn.abort_reason is not None:
            raise Refused(self._txn.abort_reason)
        self._check_age()
        if self._txn.explicit and self._txn.since is not None:
            self._check_catalog()

    def _resolve_conflicts(self, footprint: Footprint, *, commit: bool) -> Task:
        checked = False
        for _ in range(ATTEMPTS):
            if footprint.in_shadows and not checked:
                yield from isolation.check_own_constraints(footprint)
                checked = True
            try:
                yield from isolation.check_commit(footprint, self.peers, commit=commit)
            except UpstreamError as error:
                yield from self._clear_way_to_commit(footprint, error)
            except isolation.LockedByBothError:
                raise Refused(OC000) from None
            else:
                return
        raise Refused(OC000)

    def _clear_way_to_commit(self, footprint: Footprint, error: UpstreamError) -> Task:
        if error.sqlstate == BLOCKED:
            yield from isolation.undo_statement()
            self.peers.request_locks(self)
        elif error.sqlstate not in CONFLICT_SQLSTATES:
            raise error
        elif footprint.in_shadows:
            raise Refused(OC000)
        elif self._txn.explicit:
            # Only the snapshot tells whether another transaction is the cause.
            yield from isolation.undo_statement()
            yield from isolation.move_to_shadows(footprint)
        else:
            raise error

    def _fail_commit(self, error: bytes) -> Task:
        yield Exchange(messages.query("ROLLBACK"))
        self._to_client.append(error)
        self._close_transaction(committed=False)
        raise ErrorRelayed
