"""A session with a cluster, one step at a time, by libpq itself: what it sees of each."""

import os
import re
import select
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from psycopg import pq

from config.dsql.options import AMAZON_ROOTS
from config.dsql.tokens import TOKENS, Endpoint

# A transaction's age ends at 300 s, so no statement has more to wait for.
SECONDS = 330
WAKING, WAKE_SECONDS, WAKE_PAUSE = "waking up", 60.0, 0.25
LOST = "lost"  # in place of a SQLSTATE: the connection ended without one
SQLSTATE, MESSAGE = (
    pq.DiagnosticField.SQLSTATE,
    pq.DiagnosticField.MESSAGE_PRIMARY,
)
# What libpq puts before a server's refusal of a login.
LOGIN_PREFIX = re.compile(r"^.*?FATAL:\s+", re.DOTALL)


class SilentError(Exception):
    """The cluster did not respond within ``SECONDS``."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The outcome of a step, as far as a client can see it."""

    sqlstate: str = ""
    message: str = ""
    tag: str = ""
    rows: tuple[tuple[str | None, ...], ...] = ()
    columns: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Seen":
        rows = tuple(tuple(row) for row in fields.get("rows", ()))
        columns = tuple(fields.get("columns", ()))
        texts = {k: fields[k] for k in ("sqlstate", "message", "tag") if k in fields}
        return cls(rows=rows, columns=columns, **texts)


@dataclass(frozen=True, slots=True)
class Address:
    """Where and as whom sessions log in."""

    host: str
    region: str
    user: str = "admin"

    def connect(self, **parameters: str) -> psycopg.Connection[Any]:
        """Raises psycopg.OperationalError."""
        fixed = {
            "host": self.host,
            "user": self.user,
            "dbname": "postgres",
            "password": TOKENS.issue(Endpoint(self.host, self.region, self.user)),
            "sslmode": "verify-full",
            "sslrootcert": os.environ.get("PGSSLROOTCERT") or str(AMAZON_ROOTS),
            "connect_timeout": "30",
            "application_name": "dsql_conform",
        }
        return psycopg.connect(**(fixed | parameters), autocommit=True)  # type: ignore[arg-type]  # libpq's parameters are texts


class Session:
    """One connection that sends its steps by one protocol."""

    def __init__(self, connection: psycopg.Connection[Any], protocol: str) -> None:
        self.connection, self._protocol = connection, protocol
        self._pgconn = connection.pgconn

    @property
    def in_transaction(self) -> bool:
        return self._pgconn.transaction_status != pq.TransactionStatus.IDLE

    @property
    def is_lost(self) -> bool:
        return self._pgconn.status != pq.ConnStatus.OK

    def run(self, sql: str, copy: Sequence[str] = ()) -> Seen:
        """Raises SilentError."""
        if self.is_lost:
            return Seen(LOST, "the connection has ended before")
        if self._protocol == "simple":
            self._pgconn.send_query(sql.encode())
        else:
            self._pgconn.send_query_params(sql.encode(), None)
        return _summarize(list(self._results(copy)))

    def query(self, sql: str) -> Seen:
        """By the simple protocol, whatever that of the steps is."""
        if self.is_lost:
            return Seen(LOST, "the connection has ended before")
        self._pgconn.send_query(sql.encode())
        return _summarize(list(self._results(())))

    def close(self) -> None:
        self.connection.close()

    def _results(self, copy: Sequence[str]) -> Iterator[pq.abc.PGresult]:
        while True:
            while self._pgconn.is_busy():
                if not select.select([self._pgconn.socket], [], [], SECONDS)[0]:
                    raise SilentError(f"no response within {SECONDS} s")
                try:
                    self._pgconn.consume_input()
                except psycopg.OperationalError:
                    break  # the next result says so
            result = self._pgconn.get_result()
            if result is None:
                return
            if result.status == pq.ExecStatus.COPY_IN:
                self._pgconn.put_copy_data(
                    "".join(f"{line}\n" for line in copy).encode()
                )
                self._pgconn.put_copy_end()
            else:
                yield result


@dataclass(frozen=True, slots=True)
class FirstLogin:
    """How long the cluster took to accept a login, and its refusals until then."""

    seconds: float
    refusals: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {"seconds": round(self.seconds, 3), "refusals": list(self.refusals)}


def wake(address: Address) -> FirstLogin:
    """Log in; a cluster that was idle wakes up first. Raises psycopg.OperationalError."""
    began, refusals = time.monotonic(), list[str]()
    while True:
        try:
            address.connect().close()
        except psycopg.OperationalError as error:
            refusals.append(LOGIN_PREFIX.sub("", str(error)).split("\n")[0].strip())
            waited = time.monotonic() - began
            if WAKING not in refusals[-1] or waited > WAKE_SECONDS:
                raise
            time.sleep(WAKE_PAUSE)
        else:
            return FirstLogin(time.monotonic() - began, tuple(refusals))


def log_in(address: Address, parameters: Mapping[str, str]) -> Seen:
    """The outcome of a login, which libpq reports without its SQLSTATE."""
    try:
        address.connect(**parameters).close()
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        text = LOGIN_PREFIX.sub("", str(error)).split("\n")[0].strip()
        return Seen(LOST, text)
    return Seen(tag="LOGIN")


def _summarize(results: Sequence[pq.abc.PGresult]) -> Seen:
    tags: list[str] = []
    for result in results:
        if result.status in (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.NONFATAL_ERROR):
            state = (result.error_field(SQLSTATE) or b"").decode() or LOST
            text = result.error_field(MESSAGE) or result.error_message
            message = text.decode(errors="replace").strip()
            return Seen(state, message, "; ".join(tags))
        tags.append((result.command_status or b"").decode())
    if not results:
        return Seen()
    last = results[-1]
    columns = tuple((last.fname(i) or b"").decode() for i in range(last.nfields))
    rows = tuple(
        tuple(_text(last.get_value(r, c)) for c in range(last.nfields))
        for r in range(last.ntuples)
    )
    return Seen(tag="; ".join(tags), rows=rows, columns=columns)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")
