"""The simple protocol: a Query with any number of statements."""

from collections.abc import Sequence
from dataclasses import dataclass

from ops.local.sandbox import messages
from ops.local.sandbox.exchanges import (
    COMPLETE,
    ERROR,
    EVERYTHING,
    NOTICE,
    READY,
    RESYNC,
    ROW,
    ROWS,
    Exchange,
    Steps,
    Task,
    find_error,
)
from ops.local.sandbox.execution import MALFORMED
from ops.local.sandbox.extended import Extended
from ops.local.sandbox.messages import MalformedMessageError
from ops.local.sandbox.rules import Kind, Statement, judge
from ops.local.sandbox.transactions import (
    ENDINGS,
    FINAL_RESPONSES,
    LARGE,
    SYNTAX_ERROR,
    ErrorRelayed,
    Refused,
)

UNTIL_COMPLETE = EVERYTHING - {COMPLETE, ERROR}


@dataclass(slots=True, eq=False)
class Simple(Extended):
    def _run_query(self, frame: bytes) -> Task:
        try:
            sql = messages.cstring(frame, 5)[0]
        except MalformedMessageError:
            yield from self._refuse(MALFORMED)
        else:
            self.observe(sql)
            statements = judge(sql)
            self._names.end_unnamed_of_client()
            if self._passes(statements, sql):
                self._catalog = self.peers.catalog
                yield Exchange(frame, EVERYTHING)
            elif statements or self._fault_refusal is not None:
                yield from self._run_all(statements)
            else:
                yield Exchange(messages.query(""), EVERYTHING)
        if self._status == "I":
            self._names.portals.clear()
        self._to_client.append(messages.ready(self._client_status()))

    def _passes(self, statements: Sequence[Statement], sql: str) -> bool:
        """A read that needs no rule of the transaction goes through as it came."""
        txn = self._txn
        return (
            len(statements) == 1
            and statements[0].plain
            and statements[0].sql == sql
            and self.peers.are_readers(statements[0].calls)
            and not (txn.explicit or txn.opened)
            and self._fault_refusal is None
            and self._catalog in (None, self.peers.catalog)
        )

    def _run_all(self, statements: Sequence[Statement]) -> Task:
        yield from self._attempt(self._run_each(statements))
        self._holds, self._held = False, None

    def _run_each(self, statements: Sequence[Statement]) -> Task:
        for statement in statements:
            self._holds = statement is statements[-1]
            yield from self._run(statement)
        if not self._txn.explicit:
            yield from self._end("COMMIT")
        if self._held is not None:
            self._to_client.append(self._held)

    def _run(self, statement: Statement) -> Task:
        if statement.unparsed:
            yield from self._word_error(statement)
        if statement.kind in ENDINGS and statement.refusal is None:
            yield from self._finish(statement)
            return
        if self._aborted:
            self._raise_refusal(statement)
            yield Exchange(messages.query(statement.sql), EVERYTHING)
            raise ErrorRelayed
        statement = yield from self._classify(statement)
        self._check(statement)
        if statement.kind is Kind.BEGIN:
            yield from self._begin(statement)
            return
        yield from self._prepare(statement)
        hidden = frozenset({ROWS, ROW} if statement.discard_rows else ())
        self._partial, self._is_large = False, len(statement.sql) > LARGE
        if statement.copies:
            response = yield from self._copy(statement)
        elif self._contends(statement):
            response = yield from self._contend(
                statement, lambda _: self._send_text(statement)
            )
            known = FINAL_RESPONSES | hidden | {READY}
            self._to_client += [frame for frame in response if frame[0] not in known]
        else:
            yield from self._begin_upstream()
            collected = frozenset({ROW} if statement.estimates else ())
            relay = UNTIL_COMPLETE - hidden - collected
            response = yield Exchange(messages.query(statement.sql), relay)
            self._to_client += [frame for frame in response if frame[0] in collected]
        yield from self._handle_response(statement, response, describe=True)
        if statement.deallocates is not None:
            self._names.deallocate(statement.deallocates)

    def _word_error(self, statement: Statement) -> Task:
        """Have PostgreSQL word a syntax error, by a message that runs nothing."""
        parse = messages.cstrings("", statement.sql) + b"\0\0"
        send = messages.message(b"P", parse) + RESYNC.send
        yield Exchange(send, frozenset({ERROR}))
        if self._failed:
            raise ErrorRelayed
        raise Refused(SYNTAX_ERROR)

    def _send_text(self, statement: Statement) -> Steps[list[bytes]]:
        response = yield Exchange(messages.query(self._redirected_sql(statement)))
        return response

    def _begin(self, statement: Statement) -> Task:
        relay = EVERYTHING - {ERROR}
        if self._txn.opened and not self._txn.explicit:
            relay -= {
                NOTICE
            }  # that there is a transaction, which the client did not begin
        response = yield Exchange(messages.query(statement.sql), relay)
        if (error := find_error(response)) is not None:
            self._relay_error(error)
            raise ErrorRelayed
        self._note_begin()

    def _finish(self, statement: Statement) -> Task:
        if not self._aborted:
            yield from self._prepare(statement)
        response = yield Exchange(messages.query(statement.sql))
        self._to_client += [m for m in response if m[0] not in (ERROR, READY)]
        self._names.portals.clear()
        self._handle_end(statement, response)
        self._note_begin()
