"""One client's session: a state machine between client and PostgreSQL, without I/O.

Bytes go in with ``receive_from_client`` and ``receive_from_server`` and come out of
``data_for_client`` and ``data_for_server``. Work that needs several exchanges with
PostgreSQL is a generator: it yields an Exchange and is resumed with the messages that
were not relayed. Client messages wait while an exchange is under way.
"""

import base64
import secrets
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

from ops.sandbox import messages
from ops.sandbox.messages import Framer, OversizedMessageError
from ops.sandbox.rules import Kind, Refusal, Statement, judge

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
ANSWERS = frozenset({COMPLETE, ERROR, EMPTY, SUSPENDED})
EVERYTHING = frozenset(range(256)) - {READY}
UNTIL_COMPLETE = EVERYTHING - {COMPLETE, ERROR}
NOTHING: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Exchange:
    """Bytes for PostgreSQL, which answers go straight on, and what ends it."""

    send: bytes
    relay: frozenset[int] = NOTHING
    until: frozenset[int] = frozenset({READY})


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
        if kind in exchange.relay:
            self._to_client.append(whole)
        else:
            self._collected.append(whole)
        if kind in exchange.until:
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
        return (
            statement.kind is Kind.READ
            and statement.sql == sql
            and not (statement.refusal or self._txn.explicit)
        )

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
        if statement.refusal or statement.kind not in (Kind.COMMIT, Kind.ROLLBACK):
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
        if self._status != "I":
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
                yield from self._job(statement, describe=describe)
            last = messages.complete(statement.tag or tag)
        self._to_client.append(last)

    def _count(self, tag: str) -> None:
        verb, _, count = tag.rpartition(" ")
        if verb.split(" ")[0] in COUNTED and count.isdigit():
            self._txn.rows += int(count)
            if self._txn.rows > MAX_ROWS:
                raise Refused(TOO_MANY_ROWS)

    def _job(self, statement: Statement, *, describe: bool) -> Task:
        job = new_job_id()
        kind = statement.job.value if statement.job else ""
        yield Exchange(messages.query(f"SELECT sys.record_job('{job}', '{kind}')"))  # noqa: S608 - own values
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
        """The messages up to a Sync (or Flush); after an error the rest is skipped."""
        try:
            for whole in batch:
                yield from self._extended_message(whole)
        except Refused as error:
            self._fail(error.refusal)
            yield Exchange(messages.query("ROLLBACK"))
            yield from self._roll_back()
        except AnsweredWithError:
            pass
        if end[0] == b"S"[0]:
            answer = yield Exchange(end)
            failed = [whole for whole in answer if whole[0] == ERROR]
            self._to_client += failed
            if self._status == "I" and not self._txn.failed:
                self._txn = Transaction()
            self._to_client.append(messages.ready(self._shown_status()))

    def _extended_message(self, whole: bytes) -> Task:
        kind = chr(whole[0])
        if kind == "P":
            whole = self._parse(whole)
        elif kind == "B":
            portal, at = messages.cstring(whole, 5)
            name, _ = messages.cstring(whole, at)
            self._portals[portal] = self._prepared.get(name, Statement("", Kind.READ))
        elif kind == "E":
            yield from self._execute(whole)
            return
        yield from self._acknowledged(whole, kind)

    def _acknowledged(self, whole: bytes, kind: str) -> Task:
        statement = self._described(whole) if kind == "D" else None
        until = (
            frozenset({ERROR, NO_DATA, b"T"[0]}) if kind == "D" else frozenset(b"E123")
        )
        relay = frozenset(b"t123N")
        answer = yield Exchange(whole + messages.message(b"H"), relay, until)
        last = answer[-1] if answer else None
        if last is None:
            return
        if last[0] == NO_DATA and statement is not None and statement.job is not None:
            last = messages.text_column("job_id")
        elif last[0] == b"T"[0] and statement is not None and statement.discard_rows:
            last = messages.message(b"n")
        self._to_client.append(last)
        if last[0] == ERROR:
            raise AnsweredWithError

    def _described(self, whole: bytes) -> Statement | None:
        name = messages.cstring(whole, 6)[0]
        return (self._prepared if whole[5] == b"S"[0] else self._portals).get(name)

    def _parse(self, whole: bytes) -> bytes:
        name, at = messages.cstring(whole, 5)
        sql, rest = messages.cstring(whole, at)
        found = judge(sql)
        statement = found[0] if len(found) == 1 else Statement(sql, Kind.READ)
        if self._txn.failed and statement.kind not in (Kind.COMMIT, Kind.ROLLBACK):
            raise Refused(ABORTED)
        if statement.refusal:
            raise Refused(ABORTED if self._status == "E" else statement.refusal)
        self._prepared[name] = statement
        return messages.message(
            b"P", messages.cstrings(name, statement.sql) + whole[rest:]
        )

    def _execute(self, whole: bytes) -> Task:
        statement = self._portals.get(
            messages.cstring(whole, 5)[0], Statement("", Kind.READ)
        )
        if statement.kind in (Kind.COMMIT, Kind.ROLLBACK) and self._txn.failed:
            self._txn = Transaction()
            self._to_client.append(messages.complete("ROLLBACK"))
            return
        if statement.kind not in (Kind.COMMIT, Kind.ROLLBACK):
            self._check(statement)
        relay = UNTIL_COMPLETE - frozenset(b"TDIs")
        if not statement.discard_rows:
            relay |= {b"D"[0]}
        answer = yield Exchange(whole + messages.message(b"H"), relay, ANSWERS)
        yield from self._answered(statement, answer, describe=False)
        if statement.kind is Kind.BEGIN:
            self._txn.explicit, self._txn.started = True, self.clock()
        elif statement.kind in (Kind.COMMIT, Kind.ROLLBACK):
            self._txn = Transaction()
