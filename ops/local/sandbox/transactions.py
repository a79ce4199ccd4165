"""One session's transaction: what DSQL's rules remember of it.

Whatever the protocol, a statement is checked here before it runs, and counted afterwards.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from ops.local.sandbox import isolation, messages
from ops.local.sandbox.dpu import estimate
from ops.local.sandbox.exchanges import (
    COMPLETE,
    EMPTY,
    ERROR,
    PAUSE,
    SUSPENDED,
    Exchange,
    Task,
    UpstreamError,
    parse_rows,
    run_sql,
)
from ops.local.sandbox.faults import ClientFaults, Faults
from ops.local.sandbox.isolation import (
    BLOCKED,
    CONFLICT_SQLSTATES,
    OC000,
    OC001,
    Footprint,
)
from ops.local.sandbox.peers import Peer, Peers
from ops.local.sandbox.rules import Kind, Refusal, Statement

MAX_ROWS = 3000
LARGE = 1 << 18  # characters or bytes that may hold a value larger than DSQL's
MAX_AGE = 300  # seconds a transaction may last
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
# Errors of statements that are not repeated: a reader waits for nothing but DDL.
TRANSLATED = {"40001": OC000, "40P01": OC000, BLOCKED: OC001}
COUNTED = {"INSERT", "UPDATE", "DELETE", "COPY"}
ENDINGS = (Kind.COMMIT, Kind.ROLLBACK)
# Statements that read the catalog.
TOUCHING = (Kind.READ, Kind.LOCK, Kind.WRITE, Kind.DDL)
# Classes of what the sandbox's own functions refuse a statement with.
# What the sandbox's own statement names is not in the catalog: others changed it since.
CATALOG_MISMATCH = "42"  # class "syntax error or access rule violation"
CHECKED = ("0A", "54", "42804")
# A table that has no shadow: no right to read it, or two tables of one name.
CONFLICTS_AT_ONCE = {"42501", "42P07"}
FINAL_RESPONSES = frozenset({COMPLETE, ERROR, EMPTY, SUSPENDED})
ANEW = messages.query("ROLLBACK; BEGIN")
# A Bind to a statement that does not exist: an error that changes no name.
FAILURE = messages.message(
    b"B", messages.cstrings("aborted", "\x01 aborted") + b"\0" * 6
) + messages.message(b"S")
SYNTAX_ERROR = Refusal("42601", "syntax error")


@dataclass(slots=True)
class Transaction:
    """What the rules must remember of the open transaction."""

    ddl: bool = False
    wrote: bool = False
    rows: int = 0
    explicit: bool = False
    opened: bool = False  # begun by the session for an autocommit statement
    started: float = 0.0
    abort_reason: Refusal | None = (
        None  # why it was rolled back while the client was idle
    )
    since: int | None = None  # Peers.commits at its first statement
    footprint: Footprint | None = None  # of what it changed and locked
    jobs: list[str] = field(default_factory=list)  # that begin when it commits
    constraints: list[str] = field(default_factory=list)  # its SET CONSTRAINTS


def build_chain_refusal(statement: Statement) -> Refusal:
    text = f"{statement.kind.name} AND CHAIN can only be used in transaction blocks"
    return Refusal("25P01", text)


class Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class ErrorRelayed(Exception):
    """PostgreSQL's own error went to the client; the rest of the batch is skipped."""


@dataclass(slots=True, eq=False)
class Transactions(Peer):
    """The part of a session that knows no protocol."""

    clock: Callable[[], float]
    peers: Peers = field(default_factory=Peers)
    faults: ClientFaults = field(default_factory=lambda: ClientFaults(Faults()))
    _status: str = "I"  # PostgreSQL's, of its last ReadyForQuery
    _out_of_sync: bool = False  # PostgreSQL skips up to a Sync
    _txn: Transaction = field(default_factory=Transaction)
    # A query's last tag is shown when its transaction is committed.
    _holds: bool = False
    _held: bytes | None = None
    _committed: bool = False  # by the statement under way
    # Rows that it wrote; None when its tag says so.
    _measured: int | None = None
    _fault_refusal: Refusal | None = None  # how a fault refuses the statement under way
    _to_client: list[bytes] = field(default_factory=list)
    _catalog: int | None = None  # Peers.catalog as this session's cache has it
    _locks_requested: bool = False  # by another session,
    _tables_requested: bool = False  # for DDL

    # Before a statement

    def _check_fault(self) -> None:
        refusal, self._fault_refusal = self._fault_refusal, None
        if refusal is not None:
            raise Refused(refusal)

    @property
    def _aborted(self) -> bool:
        """Whether an error has ended the block; PostgreSQL refuses all but its end."""
        return self._status == "E" and self._txn.abort_reason is None

    def _is_unhindered(self) -> bool:
        """Whether a statement that only reads would pass its check."""
        fresh = self._catalog is None or self._catalog == self.peers.catalog
        return fresh and self._status != "E" and self._age() <= MAX_AGE

    def _age(self) -> float:
        return self.clock() - self._txn.started if self._txn.explicit else 0.0

    def _raise_abort_reason(self, statement: Statement) -> None:
        if self._txn.abort_reason is not None and statement.kind not in ENDINGS:
            self._catalog = self.peers.catalog
            raise Refused(self._txn.abort_reason)

    def _raise_refusal(self, statement: Statement) -> None:
        refusal = statement.refusal
        if refusal is not None and self._aborted:
            raise Refused(refusal if refusal.sqlstate == "42601" else ABORTED)
        if refusal is not None:
            raise Refused(refusal)

    def _check(self, statement: Statement) -> None:
        txn = self._txn
        self._raise_abort_reason(statement)
        self._check_age()
        self._raise_refusal(statement)
        if statement.unparsed:
            raise Refused(SYNTAX_ERROR)
        if statement.kind in TOUCHING:
            self._check_catalog()
            txn.since = self.peers.commits if txn.since is None else txn.since
        if statement.kind is Kind.DDL:
            if txn.ddl or txn.wrote:
                raise Refused(TWO_DDL if txn.ddl else DDL_AND_DML)
            txn.ddl = True
        elif statement.kind is Kind.WRITE:
            if txn.ddl:
                raise Refused(DDL_AND_DML)
            txn.wrote = True

    def _check_age(self) -> None:
        if self._age() > MAX_AGE:
            detail = f"Current transaction age {int(self._age())}s exceeds {MAX_AGE}s"
            text = f"transaction age limit of {MAX_AGE}s exceeded"
            raise Refused(Refusal("54000", text, detail))

    def _check_catalog(self) -> None:
        """Fail once after a change; a session that has cached nothing cannot be stale."""
        seen, self._catalog = self._catalog, self.peers.catalog
        if seen is not None and seen != self._catalog:
            raise Refused(OC001)

    def _check_guard(self, statement: Statement) -> Task:
        """Look up in the catalog what the text alone cannot tell; a row is the refusal."""
        if statement.guard:
            yield from self._begin_upstream()
            for (found,) in parse_rows((yield from run_sql(statement.guard))):
                sqlstate, _, text = found.partition(" ")
                raise Refused(Refusal(sqlstate, text))

    def _await_job(self, statement: Statement) -> Task:
        """Let CALL sys.wait_for_job go on when the job has ended."""
        while self.peers.is_running(statement.waits_for_job, self):
            yield PAUSE
            if (
                self._tables_requested and self._txn.explicit
            ):  # the job itself needs what this transaction holds
                raise Refused(OC001)

    def _begin_upstream(self) -> Task:
        """Begin upstream what the client has not begun; _end() ends it."""
        if self._status == "I":
            yield from run_sql("BEGIN")
            self._txn.opened = True

    # After it

    def _handle_response(
        self, statement: Statement, response: list[bytes], *, describe: bool
    ) -> Task:
        last = next(frame for frame in response if frame[0] in FINAL_RESPONSES)
        if last[0] == ERROR:
            self._relay_error(last)
            raise ErrorRelayed
        if last[0] == SUSPENDED:
            self._count("")
        if last[0] == COMPLETE:
            tag = messages.cstring(last, 5)[0]
            self._count(tag)
            if statement.verify:
                yield from run_sql(statement.verify)
            if statement.submits:
                yield from self._submit(statement, describe=describe)
            if statement.estimates:
                self._show_estimate(response)
            if statement.sets_constraints:
                self._txn.constraints.append(statement.sql)
            last = messages.complete(statement.tag or tag)
        if self._holds:
            self._held = last
        else:
            self._to_client.append(last)

    def _show_estimate(self, response: list[bytes]) -> None:
        plan = [text for (text,) in parse_rows(response)]
        self._to_client += [messages.text_row(line) for line in estimate(plan)]

    def _count(self, tag: str) -> None:
        verb, _, count = tag.rpartition(" ")
        counted = verb.split(" ")[0] in COUNTED and count.isdigit()
        named, measured = int(count) if counted else 0, self._measured
        self._txn.rows += named if measured is None else measured
        self._measured = None
        if self._txn.rows > MAX_ROWS:
            raise Refused(TOO_MANY_ROWS)

    def _submit(self, statement: Statement, *, describe: bool) -> Task:
        ((job,),) = parse_rows((yield from run_sql(f"SELECT {statement.submits}")))
        self._txn.jobs.append(job)
        if describe:
            self._to_client.append(messages.text_column("job_id"))
        self._to_client.append(messages.text_row(job))

    def _refuse(self, refusal: Refusal) -> Task:
        """Nothing remains upstream; an explicit block stays aborted."""
        self._to_client.append(isolation.encode_refusal(refusal))
        yield from self._abort()

    def _fail_portals(self) -> None:
        """For the protocol that has portals."""

    def _abort(self) -> Task:
        """After an error: free all locks, which PostgreSQL keeps under a savepoint."""
        self._fail_portals()
        explicit, footprint = self._txn.explicit, self._txn.footprint
        if not explicit:
            yield Exchange(messages.query("ROLLBACK"))
        elif self._status != "E" or footprint is not None:
            yield from self._fail()
        self._txn = Transaction(explicit=explicit)

    def _fail(self) -> Task:
        """Leave PostgreSQL in an aborted block without locks: it words later refusals."""
        yield Exchange(ANEW + FAILURE, count=2)

    def _classify_error(self, error: UpstreamError) -> Refusal:
        """The client's error when a statement of the session's own failed."""
        if error.sqlstate in CONFLICT_SQLSTATES | CONFLICTS_AT_ONCE:
            return OC000
        if error.sqlstate.startswith(CHECKED):
            detail = messages.error_fields(error.frame).get("D", "")
            return Refusal(error.sqlstate, str(error), detail)
        mismatch = error.sqlstate.startswith(CATALOG_MISMATCH)
        if mismatch and self.peers.is_catalog_newer(self._catalog, self):
            return OC001
        return Refusal("XX000", f"sandbox: {error}")

    def _relay_error(self, frame: bytes) -> None:
        self._to_client.append(self._translate_error(frame))

    @staticmethod
    def _translate_error(frame: bytes) -> bytes:
        fields = messages.error_fields(frame)
        refusal = TRANSLATED.get(fields["C"])
        if fields["M"].startswith("index row "):
            refusal = KEY_TOO_LARGE
        elif fields["M"].startswith("tuple concurrently "):
            refusal = OC001  # two changes of one catalog row
        return isolation.encode_refusal(refusal) if refusal else frame

    def _client_status(self) -> str:
        return "T" if self._txn.explicit and self._txn.abort_reason else self._status
