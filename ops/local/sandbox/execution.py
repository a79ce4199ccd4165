"""What both protocols have in common: how a statement begins, and how an error ends it."""

from dataclasses import dataclass

from ops.local.sandbox.copying import Copying
from ops.local.sandbox.exchanges import Steps, Task, UpstreamError
from ops.local.sandbox.messages import MalformedMessageError
from ops.local.sandbox.rules import Kind, Refusal, Statement
from ops.local.sandbox.transactions import (
    ErrorRelayed,
    Refused,
    build_chain_refusal,
)

MALFORMED = Refusal("08P01", "invalid string in message")


@dataclass(slots=True, eq=False)
class Execution(Copying):
    def _attempt(self, work: Task) -> Steps[bool]:
        """Whether the work succeeded; else the client has the error and nothing remains."""
        try:
            self._check_fault()
            yield from work
        except Refused as error:
            yield from self._refuse(error.refusal)
        except MalformedMessageError:
            yield from self._refuse(MALFORMED)
        except UpstreamError as error:
            yield from self._refuse(self._classify_error(error))
        except ErrorRelayed:
            if self._txn.explicit or self._status != "I" or self._out_of_sync:
                yield from self._abort()
        else:
            return True
        return False

    def _prepare(self, statement: Statement) -> Task:
        """What precedes the statement, and may refuse it."""
        if statement.chains and not self._txn.explicit:
            raise Refused(build_chain_refusal(statement))
        if statement.kind is Kind.COMMIT:
            yield from self._prepare_commit()
        yield from self._await_job(statement)
        yield from self._check_guard(statement)
