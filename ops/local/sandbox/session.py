"""One client's session: a state machine between client and PostgreSQL, without I/O.

Bytes go in with ``receive_from_client`` and ``receive_from_server`` and come out of
``data_for_client`` and ``data_for_server``. Work that needs several exchanges with
PostgreSQL is a generator: it yields an Exchange and is resumed with the messages that
were not relayed. Client messages wait while an exchange is under way.

The layers below, lowest first: transactions.py, contention.py, copying.py, and extended.py
and simple.py for the two protocols.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ops.local.sandbox import isolation, messages
from ops.local.sandbox.exchanges import (
    ACKNOWLEDGEMENTS,
    COPY_ROWS,
    ERROR,
    PARAMETER,
    PAUSE,
    READY,
    RESYNC,
    Exchange,
    Task,
)
from ops.local.sandbox.extended import EXECUTE
from ops.local.sandbox.messages import Framer, OversizedMessageError
from ops.local.sandbox.rules import Refusal
from ops.local.sandbox.simple import Simple
from ops.local.sandbox.transactions import (
    UNAVAILABLE,
)

FUNCTION_CALL = Refusal("0A000", "unsupported protocol message")


@dataclass(slots=True, eq=False)
class Session(Simple):
    """``wake`` is called when there are data to send that no received data caused."""

    wake: Callable[[], None] = lambda: None
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
    _deferred: Exchange | None = None  # until its response

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
        for kind, frame in self._server.feed(data):
            self._from_server(kind, frame)
        self._pump()

    def data_for_client(self) -> bytes:
        data = b"" if self.silent else b"".join(self._to_client)
        self._to_client.clear()
        return data

    def data_for_server(self) -> bytes:
        data = b"".join(self._to_server)
        self._to_server.clear()
        return data

    def release_locks(self, *, tables: bool) -> None:
        self._locks_requested, self._tables_requested = (
            True,
            tables or self._tables_requested,
        )
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

    def adopt_change(self) -> None:
        """The catalog change was this session's own doing."""
        if self._catalog == self.peers.catalog - 1:
            self._catalog = self.peers.catalog

    def _pump(self) -> None:
        if self._task is None and self._locks_requested:
            if (self._txn.explicit or self._txn.opened) and self._status == "T":
                self._start(self._release_locks())
            else:
                self._locks_requested = self._tables_requested = False
        while self._inbox and not self.closed:
            if self._task is None:
                self._handle_message(*self._inbox.popleft())
            elif self._exchange is COPY_ROWS:
                self._handle_copy_message(*self._inbox.popleft())
            else:
                break

    def _handle_copy_message(self, kind: int, frame: bytes) -> None:
        if kind == b"X"[0]:
            self.closed = True
        elif self._receive_row(kind, frame):
            self._step([])

    def _handle_message(self, kind: int, frame: bytes) -> None:
        if kind == b"S"[0]:
            self._send_batch(synced=True)
        elif kind == b"X"[0]:
            self.closed = True
        elif self._skipping or kind in b"dcf":
            pass  # as PostgreSQL does: the rows of a COPY that has failed
        elif kind in b"PBDEC":
            self._batch.append(frame)
        elif kind == b"H"[0]:
            self._send_batch(synced=False)
        elif self._batch:
            # What comes before a Query is done before it.
            self._inbox.appendleft((kind, frame))
            self._send_batch(synced=False)
        elif kind == b"Q"[0]:
            self._execute_unless_cut(self._run_query(frame))
        elif kind == b"F"[0]:
            self._to_client.append(isolation.encode_refusal(FUNCTION_CALL))
            self._to_client.append(messages.ready(self._client_status()))
        else:
            text = f"invalid frontend message type {kind}"
            self._to_client.append(messages.error("08P01", text, severity="FATAL"))
            self.closed = True

    def _send_batch(self, *, synced: bool) -> None:
        batch, self._batch = self._batch, []
        task = self._run_batch([] if self._skipping else batch, synced=synced)
        if self._has_execute(batch):
            self._execute_unless_cut(task)
        else:
            self._start(task)

    @staticmethod
    def _has_execute(batch: list[bytes]) -> bool:
        # A driver's batch ends with its Execute.
        return bool(batch) and (
            batch[-1][0] == EXECUTE or any(frame[0] == EXECUTE for frame in batch)
        )

    def _execute_unless_cut(self, task: Task) -> None:
        """Faults strike before a statement, or between its execution and its response."""
        if self.faults.cuts_before():
            self.closed = True
            return
        self._executing, self._committed = True, False
        self._fault_refusal = UNAVAILABLE if self.faults.unavailable() else None
        self._start(task)

    def _after_execution(self) -> None:
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
            self._to_client.append(isolation.encode_refusal(UNAVAILABLE))
            self._to_client.append(messages.ready(self._client_status()))

    def _start(self, task: Task) -> None:
        self._task = task
        self._step(None)

    def _step(self, collected: list[bytes] | None) -> None:
        task = self._task
        if task is None:
            return
        if self._deferred is not None:  # the response to the Sync before it is complete
            exchange, self._deferred = self._deferred, None
        else:
            try:
                exchange = next(task) if collected is None else task.send(collected)
            except StopIteration:
                self._task = self._exchange = None
                self._after_execution()
                return
        if self._out_of_sync and exchange.count:
            self._out_of_sync = False
            if exchange is not RESYNC:
                self._deferred, exchange = exchange, RESYNC
        self._send(exchange)

    def _send(self, exchange: Exchange) -> None:
        self._exchange, self._collected = exchange, []
        self._awaited = exchange.count
        if self._deferred is None:
            self._seen = self._acknowledged_count = 0
            self._failed = False
        if exchange.send[:1] == b"Q":
            self._names.end_unnamed()
        self._to_server.append(exchange.send)

    def _from_server(self, kind: int, frame: bytes) -> None:
        exchange = self._exchange
        if kind == READY:
            self._status = chr(frame[5])
        if exchange is None:
            self._to_client.append(frame)  # a notice, or FATAL when PostgreSQL stops
            return
        if kind not in ACKNOWLEDGEMENTS:
            self._forward(exchange, kind, frame)
        elif self._seen in exchange.hidden:  # of a message that the client did not send
            self._seen += 1
        else:
            self._seen += 1
            self._acknowledged_count += 1
            self._forward(exchange, kind, frame)
        if kind in exchange.until:
            self._awaited -= 1
            if self._awaited == 0 and exchange.count:
                self._step(self._collected)
                return
        if kind == ERROR and READY not in exchange.until:
            self._out_of_sync = True
            self._step(self._collected)

    def _forward(self, exchange: Exchange, kind: int, frame: bytes) -> None:
        if kind == ERROR:
            self._failed = True
        if exchange.replace and kind in exchange.replace:
            self._to_client.append(exchange.replace[kind])
        elif kind in exchange.relay:
            self._to_client.append(
                self._translate_error(frame) if kind == ERROR else frame
            )
        else:
            self._collected.append(frame)

    def _log_in(self, startup: bytes) -> Task:
        greeting = yield Exchange(startup, until=frozenset({READY, ERROR}))
        for frame in greeting:
            if frame[0] == PARAMETER and frame[5:].startswith(b"server_version\0"):
                frame = messages.message(
                    b"S", messages.cstrings("server_version", "16.15")
                )
            self._to_client.append(frame)
        if greeting[-1][0] == ERROR or self.faults.cuts_after_login():
            self.closed = True
