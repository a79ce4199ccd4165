"""What an error says about the work it ended: run it again, once more, or never blindly.

The one place that judges it. SQLSTATE and text decide, not the exception's class: psycopg
raises XX000 as InternalError, which is no OperationalError.
"""

from collections.abc import Iterator

from django.db import OperationalError

# 40001: OC000 (another transaction changed the data) and OC001 (… the schema).
# AWS user guide, "Concurrency control in Aurora DSQL".
SERIALIZATION_FAILURE = "40001"
# "Troubleshooting issues in Aurora DSQL": passes by, the connection stays usable.
UNAVAILABLE, UNAVAILABLE_TEXT = "XX000", "server unavailable"
# What a change may end with after it was made, by their names in PostgreSQL's Appendix A:
# Class 08, connection exceptions (08007 is transaction_resolution_unknown), and
# statement_completion_unknown. COMMIT may with XX000 too, as above.
CONNECTION_EXCEPTION, COMPLETION_UNKNOWN = "08", "40003"


class ConnectionLost(OperationalError):
    """The connection ended and nothing was committed: the work may be done again."""


class ServerUnavailable(OperationalError):
    """The server refused for a while and nothing was committed: wait, and do it again."""


class OutcomeUnknown(OperationalError):
    """The connection ended while a change was committed: it was made, or it was not.

    Whoever repeats the change must first look whether it is there.
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
    """The name of every constraint that was broken, in the exception chain."""
    named = (getattr(link, "diag", None) for link in chain(error))
    return {diag.constraint_name for diag in named if diag and diag.constraint_name}


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was raised from.

    Not what was being handled when it was raised: a second attempt fails while the first
    one's error is handled, and is judged by itself.
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
    """Whether the work lost against another transaction: nothing was committed."""
    return _has(error, frozenset({SERIALIZATION_FAILURE}))


def is_unavailable(error: BaseException) -> bool:
    """Whether the server could not do it now; outside of COMMIT nothing was committed."""
    return _has(error, frozenset({UNAVAILABLE}), UNAVAILABLE_TEXT)


def is_unresolved(error: BaseException) -> bool:
    """Whether the server says that it cannot tell if the statement was done."""
    states = (getattr(link, "sqlstate", None) or "" for link in causes(error))
    return any(
        state.startswith(CONNECTION_EXCEPTION) or state == COMPLETION_UNKNOWN
        for state in states
    )


def is_outcome_unknown(error: BaseException) -> bool:
    """Whether COMMIT may have been done although this is its answer."""
    return is_unresolved(error) or _has(error, frozenset({UNAVAILABLE}))
