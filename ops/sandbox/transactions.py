"""One session's transaction: what DSQL's rules remember of it, and how it ends.

Whatever the protocol, a statement is checked here before it runs, kept apart from other
transactions while it does, and counted afterwards.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ops.sandbox import conflicts, messages
from ops.sandbox.conflicts import BLOCKED, OC000, OC001, RIVALRY, Footprint, Peer, Peers
from ops.sandbox.exchanges import (
    COMPLETE,
    EMPTY,
    ERROR,
    SUSPENDED,
    Exchange,
    Steps,
    Task,
    UpstreamError,
    ask,
    error_in,
    rows,
)
from ops.sandbox.faults import ClientFaults, Faults
from ops.sandbox.rules import Kind, Refusal, Statement, relations, with_shadows

MAX_ROWS = 3000
MAX_AGE = 300  # seconds a transaction may last
# How often a statement is repeated while the sessions in its way step aside.
ATTEMPTS = 100
ABORTED = Refusal(
    "25P02",
    "current transaction is aborted, commands ignored until end of transaction block",
)
TWO_DDL = Refusal("0A000", "multiple ddl statements not supported in a transaction")
DDL_AND_DML = Refusal("0A000", "ddl and dml are not supported in the same transaction")
TOO_MANY_ROWS = Refusal("54000", "transaction row limit exceeded")
# AWS user guide, "Troubleshooting issues in Aurora DSQL": the connection stays usable.
UNAVAILABLE = Refusal("XX000", "server unavailable")
KEY_TOO_LARGE = Refusal("54000", "key size too large")
# Errors of statements that nobody repeats: a reader stands only before a DDL's lock.
TRANSLATED = {"40001": OC000, "40P01": OC000, BLOCKED: OC001}
COUNTED = {"INSERT", "UPDATE", "DELETE"}
CHANGES = (Kind.LOCK, Kind.WRITE, Kind.DDL)
TOUCHING = (Kind.READ, *CHANGES)  # statements that read the catalog
NO_PRIVILEGE = "42501"
ANSWERS = frozenset({COMPLETE, ERROR, EMPTY, SUSPENDED})
PAUSE = Exchange(b"", count=0)


@dataclass(slots=True)
class Transaction:
    """What the rules must remember of the open transaction."""

    ddl: bool = False
    writes: bool = False
    rows: int = 0
    failed: bool = False
    explicit: bool = False
    opened: bool = False  # begun by the session for an autocommit statement
    started: float = 0.0
    lost: Refusal | None = None  # rolled back while the client was silent
    since: int | None = None  # Peers.commits at its first statement
    footprint: Footprint | None = None  # of what it changed and locked
    jobs: list[str] = field(default_factory=list)  # that begin when it commits
    constraints: list[str] = field(default_factory=list)  # its SET CONSTRAINTS


class Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class AnsweredWithError(Exception):
    """PostgreSQL's own error went to the client; the rest of the batch is skipped."""


@dataclass(slots=True, eq=False)
class Transactions(Peer):
    """The part of a session that knows no protocol."""

    clock: Callable[[], float]
    peers: Peers = field(default_factory=Peers)
    faults: ClientFaults = field(default_factory=lambda: ClientFaults(Faults()))
    _status: str = "I"  # PostgreSQL's, of its last ReadyForQuery
    _txn: Transaction = field(default_factory=Transaction)
    _committed: bool = False  # by the statement under way
    _struck: Refusal | None = None  # how a fault refuses the statement under way
    _to_client: list[bytes] = field(default_factory=list)
    _catalog: int | None = None  # Peers.catalog as this session's cache has it
    _asked: bool = False  # to give way,
    _asked_tables: bool = False  # for DDL

    # Before a statement

    def _check_struck(self) -> None:
        refusal, self._struck = self._struck, None
        if refusal is not None:
            raise Refused(refusal)

    def _check(self, statement: Statement) -> None:
        txn = self._txn
        if txn.failed or self._status == "E":
            raise Refused(ABORTED)
        if txn.explicit and self.clock() - txn.started > MAX_AGE:
            age = int(self.clock() - txn.started)
            detail = f"Current transaction age {age}s exceeds {MAX_AGE}s"
            text = f"transaction age limit of {MAX_AGE}s exceeded"
            raise Refused(Refusal("54000", text, detail))
        if statement.refusal:
            raise Refused(statement.refusal)
        if statement.kind in TOUCHING:
            self._check_catalog()
            txn.since = self.peers.commits if txn.since is None else txn.since
        if statement.kind is Kind.DDL:
            if txn.ddl or txn.writes:
                raise Refused(TWO_DDL if txn.ddl else DDL_AND_DML)
            txn.ddl = True
        elif statement.kind is Kind.WRITE:
            if txn.ddl:
                raise Refused(DDL_AND_DML)
            txn.writes = True

    def _check_catalog(self) -> None:
        """Fail once after a change; what a session has not cached cannot be old."""
        seen, self._catalog = self._catalog, self.peers.catalog
        if self._txn.lost is not None:
            raise Refused(self._txn.lost)
        if seen is not None and seen != self._catalog:
            raise Refused(OC001)

    def _guard(self, statement: Statement) -> Task:
        """Ask the catalog what the text alone cannot tell; a row is the refusal's text."""
        if statement.guard:
            yield from self._open()
            for (found,) in rows((yield from ask(statement.guard))):
                sqlstate, _, text = found.partition(" ")
                raise Refused(Refusal(sqlstate, text))

    def _await_job(self, statement: Statement) -> Task:
        """Let CALL sys.wait_for_job go on when the job has ended."""
        while self.peers.runs(statement.waits_for_job, self):
            yield PAUSE
            if (
                self._asked_tables and self._txn.explicit
            ):  # the job itself needs what this transaction holds
                raise Refused(OC001)

    def _open(self) -> Task:
        """Begin upstream what the client has not begun; _end() ends it."""
        if self._status == "I":
            yield from ask("BEGIN")
            self._txn.opened = True

    # After it

    def _answered(
        self, statement: Statement, answer: list[bytes], *, describe: bool
    ) -> Task:
        last = next(whole for whole in answer if whole[0] in ANSWERS)
        if last[0] == ERROR:
            self._show_error(last)
            raise AnsweredWithError
        if last[0] == COMPLETE:
            tag = messages.cstring(last, 5)[0]
            self._count(tag)
            if statement.submits:
                yield from self._submit(statement, describe=describe)
            if statement.sets_constraints:
                self._txn.constraints.append(statement.sql)
            last = messages.complete(statement.tag or tag)
        self._to_client.append(last)

    def _count(self, tag: str) -> None:
        verb, _, count = tag.rpartition(" ")
        if verb.split(" ")[0] in COUNTED and count.isdigit():
            self._txn.rows += int(count)
            if self._txn.rows > MAX_ROWS:
                raise Refused(TOO_MANY_ROWS)

    def _submit(self, statement: Statement, *, describe: bool) -> Task:
        ((job,),) = rows((yield from ask(f"SELECT {statement.submits}")))
        self._txn.jobs.append(job)
        if describe:
            self._to_client.append(messages.text_column("job_id"))
        self._to_client.append(messages.text_row(job))

    def _refuse(self, refusal: Refusal) -> Task:
        """Nothing remains upstream; an explicit block stays aborted."""
        self._to_client.append(conflicts.refused(refusal))
        yield Exchange(messages.query("ROLLBACK"))
        explicit = self._txn.explicit
        self._txn = Transaction(failed=explicit, explicit=explicit)

    @staticmethod
    def _verdict_on(error: UpstreamError) -> Refusal:
        """What the client hears when the session's own request failed."""
        if error.sqlstate in RIVALRY or error.sqlstate == NO_PRIVILEGE:
            return OC000
        return Refusal("XX000", f"sandbox: {error}")

    def _show_error(self, whole: bytes) -> None:
        self._to_client.append(self._translated(whole))

    @staticmethod
    def _translated(whole: bytes) -> bytes:
        fields = messages.error_fields(whole)
        refusal = TRANSLATED.get(fields["C"])
        if fields["M"].startswith("index row "):
            refusal = KEY_TOO_LARGE
        elif fields["M"].startswith("tuple concurrently "):
            refusal = OC001  # two changes of one catalog row
        return conflicts.refused(refusal) if refusal else whole

    def _shown_status(self) -> str:
        if self._txn.failed:
            return "E"
        return "T" if self._txn.explicit and self._txn.lost else self._status

    # Beside other transactions

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
        footprint = self._txn.footprint
        if footprint is None:
            footprint = Footprint(self._txn.since or 0, self._txn.constraints)
            self._txn.footprint = footprint
        if statement.kind in (Kind.LOCK, Kind.WRITE):
            footprint.texts.append(statement.sql)
        for attempt in range(ATTEMPTS):
            if footprint.aside:
                yield from conflicts.shadow_more(footprint)
            begin = self._status == "I"
            self._txn.opened = self._txn.opened or begin
            yield from conflicts.save(footprint, begin=begin)
            answer = yield from work(attempt > 0)
            error = error_in(answer)
            if error is None or not (yield from self._clear(statement, error)):
                break
        else:
            raise Refused(OC000)
        if error is None and statement.locks and self._txn.explicit:
            names = relations(statement.sql)
            yield from conflicts.note_locks(footprint, statement.locks, names)
        return answer

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
            yield from self._lose(OC001)
        elif footprint is not None and footprint.saved and not footprint.aside:
            try:
                yield from conflicts.step_aside(footprint)
            except UpstreamError as error:
                yield from self._lose(self._verdict_on(error))

    def _lose(self, refusal: Refusal) -> Task:
        yield Exchange(messages.query("ROLLBACK"))
        self._txn.lost = refusal

    # The end

    def _end(self, how: str) -> Task:
        committed = how == "COMMIT" and self._status == "T"
        if how == "COMMIT":
            yield from self._settle(commit=True)
        if self._status != "I":
            answer = yield Exchange(messages.query(how))
            if (error := error_in(answer)) is not None:
                self._show_error(error)
                committed = False
        self._over(committed=committed)

    def _ended(self, statement: Statement, answer: Sequence[bytes]) -> Task:
        error = error_in(answer)
        self._over(committed=statement.kind is Kind.COMMIT and error is None)
        if error is not None:
            self._show_error(error)
            raise AnsweredWithError
        yield from ()

    def _over(self, *, committed: bool) -> None:
        txn, self._txn = self._txn, Transaction()
        if not committed:
            return
        self._committed = txn.ddl or txn.writes
        if txn.ddl:
            self.peers.catalog += 1
            self._catalog = self.peers.catalog
            self.peers.submit(txn.jobs, self)
        if txn.footprint is not None and txn.footprint.keys:
            self.peers.share(txn.footprint.keys)

    def _settle(self, *, commit: bool = False) -> Task:
        """Have every conflict before COMMIT is sent; the first one ends the transaction.

        With ``commit`` it may be sent already: then the status is "I".
        """
        txn = self._txn
        try:
            self._check_faults()
            if txn.explicit and txn.since is not None:
                self._check_catalog()
            if txn.footprint is not None and self._status == "T":
                yield from self._settle_with_others(txn.footprint, commit=commit)
        except Refused as error:
            yield from self._fail_commit(conflicts.refused(error.refusal))
        except UpstreamError as error:
            yield from self._fail_commit(self._translated(error.whole))

    def _check_faults(self) -> None:
        if self._txn.writes and self.faults.conflict():
            raise Refused(OC000)
        if self._txn.writes and self.faults.unavailable_at_commit():
            raise Refused(UNAVAILABLE)

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
