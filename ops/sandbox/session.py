"""One client's session: a state machine between client and PostgreSQL, without I/O.

Bytes go in with ``receive_from_client`` and ``receive_from_server`` and come out of
``data_for_client`` and ``data_for_server``. Work that needs several exchanges with
PostgreSQL is a generator: it yields an Exchange and is resumed with the messages that
were not relayed. Client messages wait while an exchange is under way.
"""

import base64
import secrets
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

from ops.sandbox import messages
from ops.sandbox.messages import Framer, OversizedMessageError
from ops.sandbox.rules import Job, Kind, Refusal, Statement, judge

MAX_ROWS = 3000
MAX_AGE = 300  # seconds a transaction may last
ABORTED = Refusal(
    "25P02",
    "current transaction is aborted, commands ignored until end of transaction block",
)
TWO_DDL = Refusal("0A000", "multiple ddl statements not supported in a transaction")
DDL_AND_DML = Refusal("0A000", "ddl and dml are not supported in the same transaction")
TOO_MANY_ROWS = Refusal("54000", "transaction row limit exceeded")
CONFLICT = "change conflicts with another transaction (OC000)"
CONFLICTS = {"40001", "40P01"}
COUNTED = {"INSERT", "UPDATE", "DELETE"}
READY, COMPLETE, ERROR, PARAMETER = b"Z"[0], b"C"[0], b"E"[0], b"S"[0]
NO_DATA, EMPTY, SUSPENDED = b"n"[0], b"I"[0], b"s"[0]
PARSE, BIND, DESCRIBE, EXECUTE, SYNC = b"PBDES"
FLUSH = messages.message(b"H")
ENDINGS = (Kind.COMMIT, Kind.ROLLBACK)
ROWS, ROW = b"T"[0], b"D"[0]
ANSWERS = frozenset({COMPLETE, ERROR, EMPTY, SUSPENDED})
EVERYTHING = frozenset(range(256)) - {READY}
UNTIL_COMPLETE = EVERYTHING - {COMPLETE, ERROR}
# The one message that ends PostgreSQL's answer to each message of the extended protocol.
ACKNOWLEDGEMENTS = frozenset(b"123") | {ROWS, NO_DATA, COMPLETE, EMPTY, SUSPENDED}
NOTHING: frozenset[int] = frozenset()
BARE_READ = Statement("", Kind.READ)


@dataclass(frozen=True, slots=True)
class Exchange:
    """Bytes for PostgreSQL, which answers go straight on, and what ends it.

    It ends at the ``count``-th message of ``until``, or at an error when READY is not
    awaited. ``replace`` holds what the client gets instead of messages of a type.
    """

    send: bytes
    relay: frozenset[int] = NOTHING
    until: frozenset[int] = frozenset({READY})
    count: int = 1
    replace: Mapping[int, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class Transaction:
    """What the rules must remember of the open transaction."""

    ddl: bool = False
    writes: bool = False
    rows: int = 0
    failed: bool = False
    explicit: bool = False
    started: float = 0.0


Task = Generator[Exchange, list[bytes], None]


class Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class AnsweredWithError(Exception):
    """PostgreSQL's own error went to the client; the rest of the batch is skipped."""


def new_job_id() -> str:
    return base64.b32encode(secrets.token_bytes(16)).decode().rstrip("=").lower()


@dataclass(slots=True)
class Session:
    clock: Callable[[], float]
    closed: bool = False
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
    _prepared: dict[str, Statement] = field(default_factory=dict)
    _portals: dict[str, Statement] = field(default_factory=dict)

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

    def _pump(self) -> None:
        while self._task is None and self._inbox and not self.closed:
            kind, whole = self._inbox.popleft()
            if kind == b"X"[0]:
                self.closed = True
            elif kind == b"Q"[0]:
                self._start(self._simple(messages.cstring(whole, 5)[0]))
            elif kind in b"SH":
                batch, self._batch = self._batch, []
                self._start(self._extended(batch, whole))
            elif kind in b"PBDEC":
                self._batch.append(whole)
            else:
                self._fail(Refusal("0A000", "unsupported protocol message"))
                self._to_client.append(messages.ready(self._shown_status()))

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
        if kind == ERROR:
            whole = self._translated(whole)
        if kind in exchange.replace:
            self._to_client.append(exchange.replace[kind])
        elif kind in exchange.relay:
            self._to_client.append(whole)
        else:
            self._collected.append(whole)
        if kind in exchange.until:
            self._awaited -= 1
        if self._awaited == 0 or (kind == ERROR and READY not in exchange.until):
            self._step(self._collected)

    @staticmethod
    def _translated(whole: bytes) -> bytes:
        fields = messages.error_fields(whole)
        if fields["C"] in CONFLICTS:
            return messages.error("40001", CONFLICT)
        return whole

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
            yield Exchange(messages.query(sql), EVERYTHING)
        elif not statements:
            yield Exchange(messages.query(""), EVERYTHING)
        else:
            yield from self._run_all(statements)
        self._to_client.append(messages.ready(self._shown_status()))

    def _passes(self, statement: Statement, sql: str) -> bool:
        """A read that needs no rule of the transaction goes through as it came."""
        return statement.plain and statement.sql == sql and not self._txn.explicit

    def _run_all(self, statements: Sequence[Statement]) -> Task:
        try:
            for statement in statements:
                yield from self._run(statement)
            if not self._txn.explicit:
                yield from self._end("COMMIT")
        except Refused as error:
            self._fail(error.refusal)
            yield from self._roll_back()
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
        if self._status == "I":
            yield Exchange(messages.query("BEGIN"))
        yield from self._guard(statement)
        relay = (
            UNTIL_COMPLETE - frozenset(b"TD")
            if statement.discard_rows
            else UNTIL_COMPLETE
        )
        answer = yield Exchange(messages.query(statement.sql), relay)
        yield from self._answered(statement, answer, describe=True)

    def _begin(self, statement: Statement) -> Task:
        if self._status == "I":
            yield Exchange(messages.query(statement.sql))
        self._txn.explicit, self._txn.started = True, self.clock()
        self._to_client.append(messages.complete("BEGIN"))

    def _ends_transaction(
        self, statement: Statement
    ) -> Generator[Exchange, list[bytes], bool]:
        if statement.refusal or statement.kind not in ENDINGS:
            return False
        if self._txn.failed:
            self._to_client.append(messages.complete("ROLLBACK"))
        else:
            answer = yield Exchange(messages.query(statement.sql), EVERYTHING - {ERROR})
            if answer[0][0] == ERROR:
                self._to_client.append(answer[0])
                self._txn = Transaction()
                raise AnsweredWithError
        self._txn = Transaction()
        return True

    def _end(self, how: str) -> Task:
        if self._status != "I":
            answer = yield Exchange(messages.query(how))
            if answer[0][0] == ERROR:
                self._to_client.append(answer[0])
        self._txn = Transaction()

    def _roll_back(self) -> Task:
        """After a refusal: nothing remains upstream; an explicit block stays aborted."""
        yield Exchange(messages.query("ROLLBACK"))
        explicit = self._txn.explicit
        self._txn = Transaction(failed=explicit, explicit=explicit)

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
        if statement.kind is Kind.DDL:
            if txn.ddl or txn.writes:
                raise Refused(TWO_DDL if txn.ddl else DDL_AND_DML)
            txn.ddl = True
        elif statement.kind is Kind.WRITE:
            if txn.ddl:
                raise Refused(DDL_AND_DML)
            txn.writes = True

    def _guard(self, statement: Statement) -> Task:
        """Ask the catalog what the text alone cannot tell; a row is the refusal's text."""
        if statement.guard:
            answer = yield Exchange(messages.query(statement.guard))
            for whole in answer:
                if whole[0] == ROW:
                    raise Refused(Refusal("0A000", whole[11:].decode()))

    def _answered(
        self, statement: Statement, answer: list[bytes], *, describe: bool
    ) -> Task:
        last = next(whole for whole in answer if whole[0] in ANSWERS)
        if last[0] == ERROR:
            self._to_client.append(last)
            raise AnsweredWithError
        if last[0] == COMPLETE:
            tag = messages.cstring(last, 5)[0]
            self._count(tag)
            if statement.job is not None:
                yield from self._job(statement.job, describe=describe)
            last = messages.complete(statement.tag or tag)
        self._to_client.append(last)

    def _count(self, tag: str) -> None:
        verb, _, count = tag.rpartition(" ")
        if verb.split(" ")[0] in COUNTED and count.isdigit():
            self._txn.rows += int(count)
            if self._txn.rows > MAX_ROWS:
                raise Refused(TOO_MANY_ROWS)

    def _job(self, kind: Job, *, describe: bool) -> Task:
        job = new_job_id()
        yield Exchange(
            messages.query(f"SELECT sys.record_job('{job}', '{kind.value}')")
        )
        if describe:
            self._to_client.append(messages.text_column("job_id"))
        self._to_client.append(messages.text_row(job))

    def _fail(self, refusal: Refusal) -> None:
        self._to_client.append(
            messages.error(
                refusal.sqlstate,
                refusal.message,
                detail=refusal.detail,
                hint=refusal.hint,
            )
        )

    def _shown_status(self) -> str:
        if self._txn.failed:
            return "E"
        return self._status

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
            self._fail(error.refusal)
            yield from self._roll_back()
        except AnsweredWithError:
            self._skipping = True
        if synced:
            yield from self._sync(end)

    def _sync(self, end: bytes) -> Task:
        answer = yield Exchange(end)
        self._to_client += [whole for whole in answer if whole[0] == ERROR]
        self._synced()

    def _synced(self) -> None:
        """Sync ends the skipping, and the transaction that no BEGIN opened."""
        self._skipping = False
        if self._status == "I" and not self._txn.failed:
            self._txn = Transaction()
        self._to_client.append(messages.ready(self._shown_status()))

    def _all_plain(self, batch: list[bytes]) -> bool:
        """Whether no rule touches the batch, so that it may go through as it came."""
        for whole in batch:
            kind = whole[0]
            if kind == PARSE:
                name, statement, rest = self._judged(whole)
                unchanged = whole.endswith(statement.sql.encode() + b"\0", 0, rest)
                if not (statement.plain and unchanged):
                    return False
                self._prepared[name] = statement
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
        self._raise_error(answer)

    @staticmethod
    def _replacements(statement: Statement) -> Mapping[int, bytes]:
        if statement.job is not None:
            return {NO_DATA: messages.text_column("job_id")}
        if statement.discard_rows:
            return {ROWS: messages.message(b"n"), ROW: b""}
        return {}

    def _raise_error(self, answer: list[bytes]) -> None:
        for whole in answer:
            if whole[0] == ERROR:
                self._to_client.append(whole)
                raise AnsweredWithError

    def _described(self, whole: bytes) -> Statement | None:
        name = messages.cstring(whole, 6)[0]
        return (self._prepared if whole[5] == b"S"[0] else self._portals).get(name)

    def _portal(self, whole: bytes) -> Statement:
        return self._portals.get(messages.cstring(whole, 5)[0], BARE_READ)

    def _bind(self, whole: bytes) -> None:
        portal, at = messages.cstring(whole, 5)
        name, _ = messages.cstring(whole, at)
        self._portals[portal] = self._prepared.get(name, BARE_READ)

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
        self._prepared[name] = statement
        return messages.message(
            b"P", messages.cstrings(name, statement.sql) + whole[rest:]
        )

    def _admit(self, statement: Statement) -> None:
        if statement.kind not in ENDINGS:
            self._check(statement)

    def _execute(self, group: list[bytes], statement: Statement) -> Task:
        if statement.kind in ENDINGS and self._txn.failed:
            yield from self._acknowledged(group[:-1], statement)
            self._txn = Transaction()
            self._to_client.append(messages.complete("ROLLBACK"))
            return
        yield from self._guard(statement)
        answer = yield Exchange(
            b"".join(group) + FLUSH,
            EVERYTHING - ANSWERS,
            ACKNOWLEDGEMENTS,
            len(group),
            self._replacements(statement),
        )
        yield from self._answered(statement, answer, describe=False)
        if statement.kind is Kind.BEGIN:
            self._txn.explicit, self._txn.started = True, self.clock()
        elif statement.kind in ENDINGS:
            self._txn = Transaction()
