"""What a session exchanges with PostgreSQL: requests, and the messages that respond."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ops.local.sandbox import messages

READY, COMPLETE, ERROR, PARAMETER = b"Z"[0], b"C"[0], b"E"[0], b"S"[0]
NO_DATA, EMPTY, SUSPENDED, NOTICE = b"n"[0], b"I"[0], b"s"[0], b"N"[0]
ROWS, ROW, COPY_DATA, COPY_IN = b"T"[0], b"D"[0], b"d"[0], b"G"[0]
NOTHING: frozenset[int] = frozenset()
EVERYTHING = frozenset(range(256)) - {READY}
# The one message that ends PostgreSQL's response to each message of the extended protocol.
ACKNOWLEDGEMENTS = frozenset(b"123") | {ROWS, NO_DATA, COMPLETE, EMPTY, SUSPENDED}


@dataclass(frozen=True, slots=True)
class Exchange:
    """Bytes for PostgreSQL, which responses are relayed, and what ends it.

    It ends at the ``count``-th message of ``until``, or at an error when READY is not
    awaited. ``replace`` holds what the client gets instead of messages of a type.
    ``hidden`` are the acknowledgements, counted from 0, of messages that the session put
    between the client's. With count 0 nothing is sent or awaited: another event lets the
    task go on.
    """

    send: bytes
    relay: frozenset[int] = NOTHING
    until: frozenset[int] = frozenset({READY})
    count: int = 1
    replace: Mapping[int, bytes] = field(default_factory=dict)
    hidden: frozenset[int] = NOTHING


Result = TypeVar("Result")
Steps = Generator[Exchange, list[bytes], Result]
Task = Steps[None]
# After an error PostgreSQL skips what it is sent up to a Sync.
RESYNC = Exchange(messages.message(b"S"))
# A task rests: a job ends, or the client's rows of a COPY arrive.
PAUSE = Exchange(b"", count=0)
COPY_ROWS = Exchange(b"", count=0)


class UpstreamError(Exception):
    """PostgreSQL refused a statement of the session's own, not its client's."""

    def __init__(self, frame: bytes) -> None:
        self.frame = frame
        self.sqlstate = messages.sqlstate(frame)
        super().__init__(messages.error_fields(frame)["M"])


def find_error(response: Sequence[bytes]) -> bytes | None:
    return next((frame for frame in response if frame[0] == ERROR), None)


def run_sql(sql: str, data: Sequence[bytes] | None = None) -> Steps[list[bytes]]:
    """Run the text, with ``data`` for its COPY FROM. Raises UpstreamError."""
    copied = [] if data is None else [*data, messages.message(b"c")]
    response = yield Exchange(b"".join([messages.query(sql), *copied]))
    if (error := find_error(response)) is not None:
        raise UpstreamError(error)
    return response


def parse_rows(response: Sequence[bytes]) -> list[list[str]]:
    """The rows of a response in text; NULL is an empty text."""
    return [messages.row_values(frame) for frame in response if frame[0] == ROW]
