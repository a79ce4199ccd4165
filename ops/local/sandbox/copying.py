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
    _rows_wrong: Refusal | None = None
    _takes_rows: bool = False  # or did, since the last Sync that counts

    def _copy(self, statement: Statement) -> Steps[list[bytes]]:
        self._rows, self._rows_size, self._rows_wrong = [], 0, None
        answer = yield from self._contend(
            statement, lambda again: self._send_rows(statement, again)
        )
        self._rows = []
        return answer

    def _send_rows(self, statement: Statement, again: bool) -> Steps[list[bytes]]:
        query = messages.query(self._led(statement))
        if again and self._rows:
            answer = yield Exchange(query + b"".join(self._rows))
            return _without_protocol(answer)
        answer = yield Exchange(query, until=frozenset({COPY_IN, READY}))
        if answer[-1][0] == COPY_IN:
            self._to_client.append(answer[-1])
            yield from self._take_in()
            self._is_large = self._rows_size > LARGE
            answer = yield Exchange(b"".join(self._rows))
        return _without_protocol(answer)

    def _take_in(self) -> Task:
        self._takes_rows = True
        yield COPY_ROWS
        if self._rows_wrong is not None:
            yield Exchange(messages.message(b"f", b"\0"))
            raise Refused(self._rows_wrong)

    def _take_row(self, kind: int, whole: bytes) -> bool:
        """Take in a message; whether it was the last one."""
        if kind == DATA:
            self._rows_size += len(whole)
            if self._rows_size > MAX_ROWS_TEXT:
                self._rows_wrong = TOO_LARGE
                self._rows.clear()
            else:
                self._rows.append(whole)
            return False
        if kind in b"HS":  # clients send them before they know of the COPY
            return False
        if kind in (DONE, FAIL):
            self._rows.append(whole)
            return True
        text = f"unexpected message type 0x{kind:02X} during COPY from stdin"
        self._rows_wrong = Refusal("08P01", text)
        return True


def _without_protocol(answer: list[bytes]) -> list[bytes]:
    return [whole for whole in answer if whole[0] not in (COPY_IN, READY)]
