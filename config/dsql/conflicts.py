"""Classify database errors: whether the work that failed may be repeated.

No other module classifies them. SQLSTATE and text decide, not the exception's class:
psycopg raises XX000 as InternalError, which is not an OperationalError.
"""

from collections.abc import Iterator

from django.db import OperationalError

# 40001: OC000 (another transaction changed the data) and OC001 (… the schema).
# AWS user guide, "Concurrency control in Aurora DSQL".
SERIALIZATION_FAILURE = "40001"
# "Troubleshooting issues in Aurora DSQL": temporary, and the connection stays usable.
UNAVAILABLE, UNAVAILABLE_TEXT = "XX000", "server unavailable"
# Errors that a change may end with although it was applied, as PostgreSQL's Appendix A
# names them: class 08, connection exceptions (08007 is transaction_resolution_unknown),
# and statement_completion_unknown. COMMIT may also end with XX000, as above.
CONNECTION_EXCEPTION, COMPLETION_UNKNOWN = "08", "40003"


class ConnectionLost(OperationalError):
    """The connection was lost and nothing was committed: the work may be repeated."""


class ServerUnavailable(OperationalError):
    """The server was unavailable and nothing was committed: wait, then repeat the work."""


class OutcomeUnknown(OperationalError):
    """The outcome is unknown: the change may or may not have been applied.

    The connection was lost while it was being committed. Check the data before you repeat
    the change.
    """


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error and everything it was raised from, each once."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        pending += [current.__context__, current.__cause__]


def sqlstates(error: BaseException) -> set[str]:
    """Every SQLSTATE in the exception chain."""
    return {
        state
        for link in chain(error)
        if (state := getattr(link, "sqlstate", None)) is not None
    }


def constraints(error: BaseException) -> set[str]:
    """The name of every violated constraint in the exception chain."""
    named = (getattr(link, "diag", None) for link in chain(error))
    return {diag.constraint_name for diag in named if diag and diag.constraint_name}


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and its explicit causes, in order.

    The implicit context is left out: a second attempt fails while the first one's error
    is being handled, and is classified on its own.
    """
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def _has(error: BaseException, sqlstates: frozenset[str], text: str = "") -> bool:
    return any(
        getattr(link, "sqlstate", None) in sqlstates and text in str(link)
        for link in causes(error)
    )


def is_conflict(error: BaseException) -> bool:
    """Whether the work conflicted with another transaction: nothing was committed."""
    return _has(error, frozenset({SERIALIZATION_FAILURE}))


def is_unavailable(error: BaseException) -> bool:
    """Whether the server was unavailable; outside of COMMIT nothing was committed."""
    return _has(error, frozenset({UNAVAILABLE}), UNAVAILABLE_TEXT)


def is_unresolved(error: BaseException) -> bool:
    """Whether the server reports that it does not know the statement's outcome."""
    states = (getattr(link, "sqlstate", None) or "" for link in causes(error))
    return any(
        state.startswith(CONNECTION_EXCEPTION) or state == COMPLETION_UNKNOWN
        for state in states
    )


def is_outcome_unknown(error: BaseException) -> bool:
    """Whether a COMMIT that ended with this error may have been applied."""
    return is_unresolved(error) or _has(error, frozenset({UNAVAILABLE}))
