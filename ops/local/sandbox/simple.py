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
    UpstreamError,
    error_in,
)
from ops.local.sandbox.extended import MALFORMED, Extended
from ops.local.sandbox.messages import MalformedMessageError
from ops.local.sandbox.rules import Kind, Statement, judge
from ops.local.sandbox.transactions import (
    ANSWERS,
    ENDINGS,
    LARGE,
    SYNTAX_ERROR,
    AnsweredWithError,
    Refused,
    no_chain,
)

UNTIL_COMPLETE = EVERYTHING - {COMPLETE, ERROR}


@dataclass(slots=True, eq=False)
class Simple(Extended):
    def _simple(self, whole: bytes) -> Task:
        try:
            sql = messages.cstring(whole, 5)[0]
        except MalformedMessageError:
            yield from self._refuse(MALFORMED)
        else:
            self.observe(sql)
            statements = judge(sql)
            self._names.query()
            if self._passes(statements, sql):
                self._catalog = self.peers.catalog
                yield Exchange(whole, EVERYTHING)
            elif statements or self._struck is not None:
                yield from self._run_all(statements)
            else:
                yield Exchange(messages.query(""), EVERYTHING)
        if self._status == "I":
            self._names.portals.clear()
        self._to_client.append(messages.ready(self._shown_status()))

    def _passes(self, statements: Sequence[Statement], sql: str) -> bool:
        """A read that needs no rule of the transaction goes through as it came."""
        txn = self._txn
        return (
            len(statements) == 1
            and statements[0].plain
            and statements[0].sql == sql
            and self.peers.knows(statements[0].calls)
            and not (txn.explicit or txn.opened)
            and self._struck is None
            and self._catalog in (None, self.peers.catalog)
        )

    def _run_all(self, statements: Sequence[Statement]) -> Task:
        try:
            self._check_struck()
            for statement in statements:
                self._holds = statement is statements[-1]
                yield from self._run(statement)
            if not self._txn.explicit:
                yield from self._end("COMMIT")
            if self._held is not None:
                self._to_client.append(self._held)
        except Refused as error:
            yield from self._refuse(error.refusal)
        except UpstreamError as error:
            yield from self._refuse(self._verdict_on(error))
        except AnsweredWithError:
            if self._txn.explicit or self._status != "I":
                yield from self._abort()
        finally:
            self._holds, self._held = False, None

    def _run(self, statement: Statement) -> Task:
        if statement.unparsed:
            yield from self._word_error(statement)
        if statement.kind in ENDINGS and statement.refusal is None:
            yield from self._finish(statement)
            return
        if self._aborted:
            self._raise_refusal(statement)
            yield Exchange(messages.query(statement.sql), EVERYTHING)
            raise AnsweredWithError
        statement = yield from self._known(statement)
        self._check(statement)
        if statement.kind is Kind.BEGIN:
            yield from self._begin(statement)
            return
        yield from self._await_job(statement)
        yield from self._guard(statement)
        hidden = frozenset({ROWS, ROW} if statement.discard_rows else ())
        self._partial, self._is_large = False, len(statement.sql) > LARGE
        if statement.copies:
            answer = yield from self._copy(statement)
        elif self._contends(statement):
            answer = yield from self._contend(
                statement, lambda _: self._send_text(statement)
            )
            known = ANSWERS | hidden | {READY}
            self._to_client += [whole for whole in answer if whole[0] not in known]
        else:
            yield from self._open()
            kept = frozenset({ROW} if statement.estimates else ())
            relay = UNTIL_COMPLETE - hidden - kept
            answer = yield Exchange(messages.query(statement.sql), relay)
            self._to_client += [whole for whole in answer if whole[0] in kept]
        yield from self._answered(statement, answer, describe=True)
        if statement.deallocates is not None:
            self._names.deallocate(statement.deallocates)

    def _word_error(self, statement: Statement) -> Task:
        """Have PostgreSQL word a syntax error, by a message that runs nothing."""
        parse = messages.cstrings("", statement.sql) + b"\0\0"
        send = messages.message(b"P", parse) + RESYNC.send
        yield Exchange(send, frozenset({ERROR}))
        if self._failed:
            raise AnsweredWithError
        raise Refused(SYNTAX_ERROR)

    def _send_text(self, statement: Statement) -> Steps[list[bytes]]:
        answer = yield Exchange(messages.query(self._led(statement)))
        return answer

    def _begin(self, statement: Statement) -> Task:
        relay = EVERYTHING - {ERROR}
        if self._txn.opened and not self._txn.explicit:
            relay -= {
                NOTICE
            }  # that there is a transaction, which the client did not begin
        answer = yield Exchange(messages.query(statement.sql), relay)
        if (error := error_in(answer)) is not None:
            self._show_error(error)
            raise AnsweredWithError
        self._begun()

    def _finish(self, statement: Statement) -> Task:
        if statement.chains and not self._txn.explicit:
            raise Refused(no_chain(statement))
        if statement.kind is Kind.COMMIT and not self._aborted:
            yield from self._settle()
        answer = yield Exchange(messages.query(statement.sql))
        self._to_client += [m for m in answer if m[0] not in (ERROR, READY)]
        self._names.portals.clear()
        self._ended(statement, answer)
        self._begun()
