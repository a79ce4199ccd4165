"""What an error says about the work it ended: run it again, once more, or never blindly."""

from collections.abc import Iterator

from django.db import OperationalError

# 40001: OC000 (another transaction changed the data) and OC001 (… the schema).
# AWS user guide, "Concurrency control in Aurora DSQL".
SERIALIZATION_FAILURE = "40001"


class ConnectionLost(OperationalError):
    """The connection ended and nothing was committed: the work may be done again."""


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


def is_conflict(error: BaseException) -> bool:
    """True when a 40001 stands anywhere in the exception chain."""
    return SERIALIZATION_FAILURE in sqlstates(error)
