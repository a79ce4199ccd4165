"""One client's session: a state machine between client and PostgreSQL, without I/O.

Bytes go in with ``receive_from_client`` and ``receive_from_server`` and come out of
``data_for_client`` and ``data_for_server``. Work that needs several exchanges with
PostgreSQL is a generator: it yields an Exchange and is resumed with the messages that
were not relayed. Client messages wait while an exchange is under way.

The layers below: transactions.py, and extended.py for one of the two protocols.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ops.sandbox import conflicts, messages
from ops.sandbox.exchanges import (
    COMPLETE,
    ERROR,
    EVERYTHING,
    PARAMETER,
    READY,
    ROW,
    ROWS,
    Exchange,
    Steps,
    Task,
    UpstreamError,
)
from ops.sandbox.extended import ENDINGS, EXECUTE, Extended
from ops.sandbox.messages import Framer, OversizedMessageError
from ops.sandbox.rules import Kind, Refusal, Statement, judge
from ops.sandbox.transactions import (
    ANSWERS,
    PAUSE,
    UNAVAILABLE,
    AnsweredWithError,
    Refused,
)

UNTIL_COMPLETE = EVERYTHING - {COMPLETE, ERROR}


@dataclass(slots=True, eq=False)
class Session(Extended):
    """``wake`` is called when there are data to send that no received data caused.

    ``observe`` is told every query string that the client sends.
    """

    wake: Callable[[], None] = lambda: None
    observe: Callable[[str], None] = lambda _: None
    closed: bool = False
    silent: bool = False  # by a fault: nothing is taken or sent any more
    _executing: bool = False
    _client: Framer = field(default_factory=lambda: Framer(messages.MAX_MESSAGE))
    _server: Framer = field(default_factory=Framer)
    _inbox: deque[tuple[int, bytes]] = field(default_factory=deque)
    _batch: list[bytes] = field(default_factory=list)
    _to_server: list[bytes] = field(default_factory=list)
    _task: Task | None = None
    _exchange: Exchange | None = None
    _collected: list[bytes] = field(default_factory=list)
    _awaited: int = 0

    def begin(self, startup: bytes) -> None:
        """Log in upstream; PostgreSQL's greeting goes to the client."""
        self._start(self._log_in(startup))

    def receive_from_client(self, data: bytes) -> None:
        if self.silent:
            return
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
        data = b"" if self.silent else b"".join(self._to_client)
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
                sql = messages.cstring(whole, 5)[0]
                self.observe(sql)
                self._execute_unless_cut(self._simple(sql))
            elif kind in b"SH":
                batch, self._batch = self._batch, []
                task = self._extended(batch, whole)
                if any(m[0] == EXECUTE for m in batch):
                    self._execute_unless_cut(task)
                else:
                    self._start(task)
            elif kind in b"PBDEC":
                if kind == b"P"[0]:
                    _, at = messages.cstring(whole, 5)
                    self.observe(messages.cstring(whole, at)[0])
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
        self._struck = UNAVAILABLE if self.faults.unavailable() else None
        self._start(task)

    def _executed(self) -> None:
        if not self._executing:
            return
        self._executing = False
        if self.faults.cuts_after(committed=self._committed):
            self._to_client.clear()
            self.closed = True
        elif self._committed and self.faults.silent_after_commit():
            self.silent = True
        elif self._committed and self.faults.unavailable_after_commit():
            self._to_client.clear()
            self._to_client.append(conflicts.refused(UNAVAILABLE))
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

    def _log_in(self, startup: bytes) -> Task:
        greeting = yield Exchange(startup, until=frozenset({READY, ERROR}))
        for whole in greeting:
            if whole[0] == PARAMETER and whole[5:].startswith(b"server_version\0"):
                whole = messages.message(
                    b"S", messages.cstrings("server_version", "16.15")
                )
            self._to_client.append(whole)
        if greeting[-1][0] == ERROR or self.faults.cuts_after_login():
            self.closed = True

    def _simple(self, sql: str) -> Task:
        statements = judge(sql)
        if self._struck is not None:
            yield from self._run_all(statements)
        elif len(statements) == 1 and self._passes(statements[0], sql):
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
            self._check_struck()
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

    def _ends_transaction(self, statement: Statement) -> Steps[bool]:
        if statement.refusal or statement.kind not in ENDINGS:
            return False
        if self._txn.failed:
            self._to_client.append(messages.complete("ROLLBACK"))
            self._over(committed=False)
            return True
        if statement.kind is Kind.COMMIT:
            yield from self._settle()
        answer = yield Exchange(messages.query(statement.sql))
        self._to_client += [m for m in answer if m[0] not in (ERROR, READY)]
        yield from self._ended(statement, answer)
        return True
