"""COPY FROM STDIN: the client's rows are taken in first, then copied like any write.

So the statement can be undone and run again when another transaction is in its way.
"""

from dataclasses import dataclass, field

from ops.local.sandbox import messages
from ops.local.sandbox.contention import Contention
from ops.local.sandbox.exchanges import COPY_IN, COPY_ROWS, READY, Exchange, Steps, Task
from ops.local.sandbox.rules import Refusal, Statement
from ops.local.sandbox.transactions import LARGE, Refused

# Text of rows that no transaction of 10 MiB can hold.
MAX_ROWS_TEXT = 32 << 20
TOO_LARGE = Refusal("54000", "transaction size limit 10mb exceeded")
DATA, DONE, FAIL = b"dcf"


@dataclass(slots=True, eq=False)
class Copying(Contention):
    _rows: list[bytes] = field(default_factory=list)  # as they came, and their end
    _rows_size: int = 0
    _rows_refusal: Refusal | None = None
    _received_rows: bool = False  # or did, since the last Sync that counts

    def _copy(self, statement: Statement) -> Steps[list[bytes]]:
        self._rows, self._rows_size, self._rows_refusal = [], 0, None
        response = yield from self._contend(
            statement, lambda again: self._send_rows(statement, again)
        )
        self._rows = []
        return response

    def _send_rows(self, statement: Statement, again: bool) -> Steps[list[bytes]]:
        query = messages.query(self._redirected_sql(statement))
        if again and self._rows:
            response = yield Exchange(query + b"".join(self._rows))
            return _strip_copy_messages(response)
        response = yield Exchange(query, until=frozenset({COPY_IN, READY}))
        if response[-1][0] == COPY_IN:
            self._to_client.append(response[-1])
            yield from self._receive_rows()
            self._is_large = self._rows_size > LARGE
            response = yield Exchange(b"".join(self._rows))
        return _strip_copy_messages(response)

    def _receive_rows(self) -> Task:
        self._received_rows = True
        yield COPY_ROWS
        if self._rows_refusal is not None:
            yield Exchange(messages.message(b"f", b"\0"))
            raise Refused(self._rows_refusal)

    def _receive_row(self, kind: int, frame: bytes) -> bool:
        """Take in a message; whether it was the last one."""
        if kind == DATA:
            self._rows_size += len(frame)
            if self._rows_size > MAX_ROWS_TEXT:
                self._rows_refusal = TOO_LARGE
                self._rows.clear()
            else:
                self._rows.append(frame)
            return False
        if kind in b"HS":  # clients send them before they know of the COPY
            return False
        if kind in (DONE, FAIL):
            self._rows.append(frame)
            return True
        text = f"unexpected message type 0x{kind:02X} during COPY from stdin"
        self._rows_refusal = Refusal("08P01", text)
        return True


def _strip_copy_messages(response: list[bytes]) -> list[bytes]:
    return [frame for frame in response if frame[0] not in (COPY_IN, READY)]
