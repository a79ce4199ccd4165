"""One client's session: a state machine between client and PostgreSQL, without I/O.

Bytes go in with ``receive_from_client`` and ``receive_from_server`` and come out of
``data_for_client`` and ``data_for_server``. Work that needs several exchanges with
PostgreSQL is a generator: it yields an Exchange and is resumed with the messages that
were not relayed. Client messages wait while an exchange is under way.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ops.sandbox import conflicts, messages
from ops.sandbox.conflicts import BLOCKED, OC000, OC001, RIVALRY, Footprint, Peers
from ops.sandbox.exchanges import (
    COMPLETE,
    EMPTY,
    ERROR,
    NO_DATA,
    PARAMETER,
    READY,
    ROW,
    ROWS,
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
from ops.sandbox.messages import Framer, OversizedMessageError
from ops.sandbox.rules import (
    Kind,
    Refusal,
    Statement,
    judge,
    relations,
    with_shadows,
)

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
KEY_TOO_LARGE = Refusal("54000", "key size too large")
# Errors of statements that nobody repeats: a reader stands only before a DDL's lock.
TRANSLATED = {"40001": OC000, "40P01": OC000, BLOCKED: OC001}
COUNTED = {"INSERT", "UPDATE", "DELETE"}
PARSE, BIND, DESCRIBE, EXECUTE, SYNC = b"PBDES"
FLUSH, SYNCED, PARSED = (messages.message(kind) for kind in (b"H", b"S", b"1"))
ENDINGS = (Kind.COMMIT, Kind.ROLLBACK)
CHANGES = (Kind.LOCK, Kind.WRITE, Kind.DDL)
TOUCHING = (Kind.READ, *CHANGES)  # statements that read the catalog
NO_PRIVILEGE = "42501"
ANSWERS = frozenset({COMPLETE, ERROR, EMPTY, SUSPENDED})
EVERYTHING = frozenset(range(256)) - {READY}
UNTIL_COMPLETE = EVERYTHING - {COMPLETE, ERROR}
# The one message that ends PostgreSQL's answer to each message of the extended protocol.
ACKNOWLEDGEMENTS = frozenset(b"123") | {ROWS, NO_DATA, COMPLETE, EMPTY, SUSPENDED}
BARE_READ = Statement("", Kind.READ)
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
class Session:
    """``wake`` is called when there are data to send that no received data caused."""

    clock: Callable[[], float]
    peers: Peers = field(default_factory=Peers)
    wake: Callable[[], None] = lambda: None
    faults: ClientFaults = field(default_factory=lambda: ClientFaults(Faults()))
    closed: bool = False
    _executing: bool = False
    _committed: bool = False
    _status: str = "I"
    _txn: Transaction = field(default_factory=Transaction)
    _client: Framer = field(default_factory=lambda: Framer(messages.MAX_MESSAGE))
    _server: Framer = field(default_factory=Framer)
    _inbox: deque[tuple[int, bytes]] = field(default_factory=deque)
    _batch: list[bytes] = field(default_factory=list)
    _to_client: list[bytes] = field(default_factory=list)
    _to_server: list[bytes] = field(default_factory=list)
    _task: Task | None = None
    _exchange: Exchange | None = None
    _collected: list[bytes] = field(default_factory=list)
    _awaited: int = 0
    _skipping: bool = False
    # By name: the verdict, and PostgreSQL's Parse under the empty name.
    _prepared: dict[str, tuple[Statement, bytes]] = field(default_factory=dict)
    _portals: dict[str, Statement] = field(default_factory=dict)
    _catalog: int | None = None  # Peers.catalog as this session's cache has it
    _asked: bool = False  # to give way,
    _asked_tables: bool = False  # for DDL

    def begin(self, startup: bytes) -> None:
        """Log in upstream; PostgreSQL's greeting goes to the client."""
        self._start(self._log_in(startup))

    def receive_from_client(self, data: bytes) -> None:
        try:
            self._inbox.extend(self._client.feed(data))
        except OversizedMessageError:
            self.closed = True
            return
        self._pump()

    def receive_from_server(self, data: bytes) -> None:
        for kind, whole in self._server.feed(data):
            self._from_server(kind, whole)
        self._pump()

    def data_for_client(self) -> bytes:
        data = b"".join(self._to_client)
        self._to_client.clear()
        return data

    def data_for_server(self) -> bytes:
        data = b"".join(self._to_server)
        self._to_server.clear()
        return data

    def give_way(self, *, tables: bool) -> None:
        self._asked, self._asked_tables = True, tables or self._asked_tables
        if tables:
            self.resume()
        self._pump()
        self.wake()

    def resume(self) -> None:
        """Go on after the job that the statement under way waits for."""
        if self._exchange is PAUSE:
            self._step([])
            self._pump()
            self.wake()

    def catch_up(self) -> None:
        """The catalog change was this session's own doing."""
        if self._catalog == self.peers.catalog - 1:
            self._catalog = self.peers.catalog

    def _pump(self) -> None:
        if self._task is None and self._asked:
            if self._txn.explicit and self._status == "T":
                self._start(self._yield_locks())
            else:
                self._asked = self._asked_tables = False
        while self._task is None and self._inbox and not self.closed:
            kind, whole = self._inbox.popleft()
            if kind == b"X"[0]:
                self.closed = True
            elif kind == b"Q"[0]:
                self._execute_unless_cut(self._simple(messages.cstring(whole, 5)[0]))
            elif kind in b"SH":
                batch, self._batch = self._batch, []
                task = self._extended(batch, whole)
                if any(m[0] == EXECUTE for m in batch):
                    self._execute_unless_cut(task)
                else:
                    self._start(task)
            elif kind in b"PBDEC":
                self._batch.append(whole)
            else:
                refusal = Refusal("0A000", "unsupported protocol message")
                self._to_client.append(conflicts.refused(refusal))
                self._to_client.append(messages.ready(self._shown_status()))

    def _execute_unless_cut(self, task: Task) -> None:
        """Faults strike before a statement, or when it was executed and not answered."""
        if self.faults.cuts_before():
            self.closed = True
            return
        self._executing, self._committed = True, False
        self._start(task)

    def _executed(self) -> None:
        if self._executing and self.faults.cuts_after(committed=self._committed):
            self._to_client.clear()
            self.closed = True
        self._executing = False

    def _start(self, task: Task) -> None:
        self._task = task
        self._step(None)

    def _step(self, collected: list[bytes] | None) -> None:
        task = self._task
        if task is None:
            return
        try:
            exchange = next(task) if collected is None else task.send(collected)
        except StopIteration:
            self._task = self._exchange = None
            self._executed()
            return
        self._exchange, self._collected = exchange, []
        self._awaited = exchange.count
        self._to_server.append(exchange.send)

    def _from_server(self, kind: int, whole: bytes) -> None:
        exchange = self._exchange
        if kind == READY:
            self._status = chr(whole[5])
        if exchange is None:
            self._to_client.append(whole)  # a notice, or FATAL when PostgreSQL stops
            return
        if kind in exchange.replace:
            self._to_client.append(exchange.replace[kind])
        elif kind in exchange.relay:
            self._to_client.append(self._translated(whole) if kind == ERROR else whole)
        else:
            self._collected.append(whole)
        if kind in exchange.until:
            self._awaited -= 1
        if (self._awaited == 0 and exchange is not PAUSE) or (
            kind == ERROR and READY not in exchange.until
        ):
            self._step(self._collected)

    @staticmethod
    def _translated(whole: bytes) -> bytes:
        fields = messages.error_fields(whole)
        refusal = TRANSLATED.get(fields["C"])
        if fields["M"].startswith("index row "):
            refusal = KEY_TOO_LARGE
        elif fields["M"].startswith("tuple concurrently "):
            refusal = OC001  # two changes of one catalog row
        return conflicts.refused(refusal) if refusal else whole

    def _log_in(self, startup: bytes) -> Task:
        greeting = yield Exchange(startup, until=frozenset({READY, ERROR}))
        for whole in greeting:
            if whole[0] == PARAMETER and whole[5:].startswith(b"server_version\0"):
                whole = messages.message(
                    b"S", messages.cstrings("server_version", "16.15")
                )
            self._to_client.append(whole)
        if greeting[-1][0] == ERROR:
            self.closed = True

    # Simple protocol

    def _simple(self, sql: str) -> Task:
        statements = judge(sql)
        if len(statements) == 1 and self._passes(statements[0], sql):
            self._catalog = self.peers.catalog
            yield Exchange(messages.query(sql), EVERYTHING)
        elif not statements:
            yield Exchange(messages.query(""), EVERYTHING)
        else:
            yield from self._run_all(statements)
        self._to_client.append(messages.ready(self._shown_status()))

    def _passes(self, statement: Statement, sql: str) -> bool:
        """A read that needs no rule of the transaction goes through as it came."""
        return (
            statement.plain
            and statement.sql == sql
            and not self._txn.explicit
            and self._catalog in (None, self.peers.catalog)
        )

    def _run_all(self, statements: Sequence[Statement]) -> Task:
        try:
            for statement in statements:
                yield from self._run(statement)
            if not self._txn.explicit:
                yield from self._end("COMMIT")
        except Refused as error:
            yield from self._refuse(error.refusal)
        except UpstreamError as error:
            yield from self._refuse(self._verdict_on(error))
        except AnsweredWithError:
            if not self._txn.explicit and self._status != "I":
                yield from self._end("ROLLBACK")

    def _run(self, statement: Statement) -> Task:
        if (yield from self._ends_transaction(statement)):
            return
        self._check(statement)
        if statement.kind is Kind.BEGIN:
            yield from self._begin(statement)
            return
        yield from self._await_job(statement)
        yield from self._guard(statement)
        hidden = frozenset({ROWS, ROW} if statement.discard_rows else ())
        if self._contends(statement):
            answer = yield from self._contend(
                statement, lambda _: self._send_text(statement)
            )
            known = ANSWERS | hidden | {READY}
            self._to_client += [whole for whole in answer if whole[0] not in known]
        else:
            yield from self._open()
            relay = UNTIL_COMPLETE - hidden
            answer = yield Exchange(messages.query(statement.sql), relay)
        yield from self._answered(statement, answer, describe=True)

    def _send_text(self, statement: Statement) -> Steps[list[bytes]]:
        answer = yield Exchange(messages.query(self._led(statement)))
        return answer

    def _begin(self, statement: Statement) -> Task:
        if self._status == "I":
            yield Exchange(messages.query(statement.sql))
        self._txn.explicit, self._txn.started = True, self.clock()
        self._to_client.append(messages.complete("BEGIN"))

    def _open(self) -> Task:
        """Begin upstream what the client has not begun; _end() ends it."""
        if self._status == "I":
            yield from ask("BEGIN")
            self._txn.opened = True

    def _ends_transaction(self, statement: Statement) -> Steps[bool]:
        if statement.refusal or statement.kind not in ENDINGS:
            return False
        if self._txn.failed:
            self._to_client.append(messages.complete("ROLLBACK"))
            self._over(committed=False)
            return True
        if statement.kind is Kind.COMMIT:
            yield from self._settle()
        answer = yield Exchange(messages.query(statement.sql), EVERYTHING - {ERROR})
        yield from self._ended(statement, answer)
        return True

    def _ended(self, statement: Statement, answer: Sequence[bytes]) -> Task:
        error = error_in(answer)
        self._over(committed=statement.kind is Kind.COMMIT and error is None)
        if error is not None:
            self._show_error(error)
            raise AnsweredWithError
        yield from ()

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

    # Other transactions

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

    def _await_job(self, statement: Statement) -> Task:
        """Let CALL sys.wait_for_job go on when the job has ended."""
        while self.peers.runs(statement.waits_for_job, self):
            yield PAUSE
            if (
                self._asked_tables and self._txn.explicit
            ):  # the job itself needs what this transaction holds
                raise Refused(OC001)

    # Rules of the transaction

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

    def _show_error(self, whole: bytes) -> None:
        self._to_client.append(self._translated(whole))

    def _shown_status(self) -> str:
        if self._txn.failed:
            return "E"
        return "T" if self._txn.explicit and self._txn.lost else self._status

    # Extended protocol

    def _extended(self, batch: list[bytes], end: bytes) -> Task:
        """The messages up to a Sync (or Flush); after an error they are skipped to Sync."""
        synced = end[0] == SYNC
        try:
            if synced and not self._skipping and self._all_plain(batch):
                self._check(BARE_READ)
                yield Exchange(b"".join(batch) + end, EVERYTHING)
                self._synced()
                return
            if not self._skipping:
                yield from self._in_groups(batch)
        except Refused as error:
            self._skipping = True
            yield from self._refuse(error.refusal)
        except UpstreamError as error:
            self._skipping = True
            yield from self._refuse(self._verdict_on(error))
        except AnsweredWithError:
            self._skipping = True
        if synced:
            yield from self._sync(end)

    def _sync(self, end: bytes) -> Task:
        if self._txn.opened and not self._txn.explicit:
            with suppress(AnsweredWithError):  # a conflict is the answer to Sync
                yield from self._end("ROLLBACK" if self._skipping else "COMMIT")
        answer = yield Exchange(end)
        if (error := error_in(answer)) is not None:
            self._show_error(error)
        self._synced()

    def _synced(self) -> None:
        """Sync ends the skipping, and the transaction that no BEGIN opened."""
        self._skipping = False
        if self._status == "I" and not self._txn.explicit:
            self._txn = Transaction()
        self._to_client.append(messages.ready(self._shown_status()))

    def _all_plain(self, batch: list[bytes]) -> bool:
        """Whether no rule touches the batch, so that it may go through as it came."""
        if self._txn.opened or self._aside:
            return False
        for whole in batch:
            kind = whole[0]
            if kind == PARSE:
                name, statement, rest = self._judged(whole)
                unchanged = whole.endswith(statement.sql.encode() + b"\0", 0, rest)
                if not (statement.plain and unchanged):
                    return False
                self._prepared[name] = statement, whole[rest:]
            elif kind == BIND:
                self._bind(whole)
            elif kind == EXECUTE and not self._portal(whole).plain:
                return False
        return True

    def _in_groups(self, batch: list[bytes]) -> Task:
        """Each Execute is one exchange, with the messages before it that prepare it."""
        group: list[bytes] = []
        for whole in batch:
            kind = whole[0]
            try:
                if kind == PARSE:
                    whole = self._parse(whole)
                elif kind == BIND:
                    self._bind(whole)
                elif kind == EXECUTE:
                    self._admit(self._portal(whole))
            except Refused:
                yield from self._acknowledged(group, BARE_READ)
                raise
            group.append(whole)
            if kind == EXECUTE:
                yield from self._execute(group, self._portal(whole))
                group = []
        described = next((self._described(m) for m in group if m[0] == DESCRIBE), None)
        yield from self._acknowledged(group, described or BARE_READ)

    def _acknowledged(self, group: list[bytes], statement: Statement) -> Task:
        if not group:
            return
        answer = yield Exchange(
            b"".join(group) + FLUSH,
            EVERYTHING - {ERROR},
            ACKNOWLEDGEMENTS,
            len(group),
            self._replacements(statement),
        )
        if (error := error_in(answer)) is not None:
            self._show_error(error)
            raise AnsweredWithError

    @staticmethod
    def _replacements(statement: Statement) -> Mapping[int, bytes]:
        if statement.submits:
            column = messages.text_column("job_id")
            return {NO_DATA: column, ROWS: column, ROW: b""}
        if statement.discard_rows:
            return {ROWS: messages.message(b"n"), ROW: b""}
        return {}

    def _described(self, whole: bytes) -> Statement | None:
        name = messages.cstring(whole, 6)[0]
        if whole[5] == b"S"[0]:
            return self._prepared.get(name, (None, b""))[0]
        return self._portals.get(name)

    def _portal(self, whole: bytes) -> Statement:
        return self._portals.get(messages.cstring(whole, 5)[0], BARE_READ)

    def _bind(self, whole: bytes) -> None:
        portal, at = messages.cstring(whole, 5)
        name, _ = messages.cstring(whole, at)
        self._portals[portal] = self._prepared.get(name, (BARE_READ, b""))[0]

    @staticmethod
    def _judged(whole: bytes) -> tuple[str, Statement, int]:
        """The name, the statement and where the parameter types begin in a Parse."""
        name, at = messages.cstring(whole, 5)
        sql, rest = messages.cstring(whole, at)
        found = judge(sql)
        # PostgreSQL itself words its refusal of several statements in one Parse.
        return name, found[0] if len(found) == 1 else Statement(sql, Kind.READ), rest

    def _parse(self, whole: bytes) -> bytes:
        name, statement, rest = self._judged(whole)
        aborted = self._txn.failed or self._status == "E"
        if aborted and statement.kind not in ENDINGS:
            raise Refused(ABORTED)
        if statement.refusal:
            raise Refused(statement.refusal)
        self._prepared[name] = statement, whole[rest:]
        return messages.message(
            b"P", messages.cstrings(name, statement.sql) + whole[rest:]
        )

    def _admit(self, statement: Statement) -> None:
        if statement.kind not in ENDINGS:
            self._check(statement)

    def _execute(self, group: list[bytes], statement: Statement) -> Task:
        ends = statement.kind in ENDINGS
        if ends and self._txn.failed:
            yield from self._acknowledged(group[:-1], statement)
            self._over(committed=False)
            self._to_client.append(messages.complete("ROLLBACK"))
            return
        if statement.kind is Kind.COMMIT:
            yield from self._settle()
        yield from self._await_job(statement)
        bound = any(whole[0] == BIND for whole in group)
        if bound and self._contends(statement) and not ends:
            yield from self._guard(statement)
            answer = yield from self._contend(
                statement, lambda again: self._send_group(group, again=again)
            )
            self._relay(statement, answer)
        elif bound and ends:
            answer = yield from self._send_group(group, again=False)
            self._relay(statement, answer)
        else:
            answer = yield Exchange(
                b"".join(group) + FLUSH,
                EVERYTHING - ANSWERS,
                ACKNOWLEDGEMENTS,
                len(group),
                self._replacements(statement),
            )
        if ends:
            committed = statement.kind is Kind.COMMIT and self._status == "T"
            self._over(committed=committed and error_in(answer) is None)
        yield from self._answered(statement, answer, describe=False)
        if statement.kind is Kind.BEGIN:
            self._txn.explicit, self._txn.started = True, self.clock()
        if ends or statement.kind is Kind.BEGIN:
            yield Exchange(SYNCED)  # to know in what state the next one begins

    def _relay(self, statement: Statement, answer: Sequence[bytes]) -> None:
        replace = self._replacements(statement)
        for whole in answer:
            if whole[0] not in ANSWERS:
                self._to_client.append(replace.get(whole[0], whole))

    def _send_group(self, group: list[bytes], *, again: bool) -> Steps[list[bytes]]:
        """The client's messages, but each Bind is to a Parse of its own.

        Requests of the session lie between the client's Parse and its Bind, and names
        may mean other tables by now. What is said ``again`` must not prepare a name twice.
        """
        parts: list[
            tuple[bytes, bool]
        ] = []  # what is sent, whether its answer is shown
        for whole in group:
            if whole[0] == BIND:
                parts += self._fresh_bind(whole)
            elif whole[0] == PARSE and again and whole[5]:
                parts.append((b"", True))
            else:
                parts.append((whole, True))
        count = sum(1 for send, _ in parts if send)
        send = b"".join(send for send, _ in parts) + FLUSH
        answer = yield Exchange(send, until=ACKNOWLEDGEMENTS, count=count)
        if error_in(answer) is not None:
            yield Exchange(SYNCED)
        return list(self._shown(parts, answer))

    def _fresh_bind(self, whole: bytes) -> list[tuple[bytes, bool]]:
        portal, at = messages.cstring(whole, 5)
        name, rest = messages.cstring(whole, at)
        if name not in self._prepared:
            return [(whole, True)]  # PostgreSQL words the error
        statement, types = self._prepared[name]
        parse = messages.cstrings("", self._led(statement)) + types
        bind = messages.cstrings(portal, "") + whole[rest:]
        return [
            (messages.message(b"P", parse), False),
            (messages.message(b"B", bind), True),
        ]

    @staticmethod
    def _shown(
        parts: Sequence[tuple[bytes, bool]], answer: Sequence[bytes]
    ) -> Iterator[bytes]:
        left = deque(parts)
        for whole in answer:
            while left and not left[0][0]:
                left.popleft()
                yield PARSED
            if whole[0] not in ACKNOWLEDGEMENTS or left.popleft()[1]:
                yield whole
