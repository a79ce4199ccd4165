"""Conflicts as DSQL has them, on top of PostgreSQL's repeatable read. No I/O.

In DSQL no statement waits for another transaction or fails because of one: the first to
commit wins, the others fail at COMMIT. PostgreSQL locks rows, waits, and fails at the
statement. The difference is bridged as follows:

* An uncontended transaction runs on the tables themselves, where PostgreSQL is right. It
  has two savepoints: at its first write, and before the current statement.
* A statement that waits for a lock longer than ``lock_timeout``, or that meets what a
  concurrent transaction has committed, is rolled back, and its transaction *moves to
  shadow tables*: its changes are copied out, the savepoint at its first write is rolled
  back, which frees its locks and keeps its snapshot, and it continues in temporary tables
  that hold the rows it saw and wrote and are found before the real ones. There the
  statement succeeds or fails as under the snapshot alone. Values are copied, not computed
  again, so sequences, random() and clock_timestamp() need no care.
* COMMIT writes the changed rows of the shadows to the tables, still under the snapshot;
  whatever PostgreSQL refuses then is a conflict (OC000). A transaction that blocks a
  commit, or a statement outside a transaction block, moves to shadow tables as well.
* The keys of rows locked by ``FOR UPDATE`` or ``FOR KEY SHARE`` are remembered from just
  before the COMMIT is sent: later commits of concurrent transactions that changed or
  deleted one of them fail. Rows of a table without a key are updated to their present
  values instead: a trace that conflicts with writes after the lock is gone.
* A key that others deleted or changed since the snapshot is still in use under it, which
  PostgreSQL overlooks: a statement that made a second visible row of one key is undone
  and run again in shadows.
* Every change of the catalog is counted; a session that ran statements under an older
  count fails once (OC001), its open transaction with it.

Generated SQL qualifies every column whose table has an alias, and needs no name in the
client's schemas: a user may choose any name.

Limits. In a transaction that has moved to shadows, a statement through a view or a user's
function, which would bypass them, conflicts at once; so do a role that may not read a
table it writes, and two tables of one name in two schemas. A portal that was not fetched
to its end is lost then, and an unnamed one after any statement of the session's own.
Moving copies the table: a conflict on 200,000 rows costs a second or two. A shared key is
not remembered when other open transactions share it too. A key that others have added and
deleted again since the snapshot conflicts with nothing.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ops.local.sandbox import messages
from ops.local.sandbox.exchanges import (
    COPY_DATA,
    Steps,
    Task,
    UpstreamError,
    parse_rows,
    run_sql,
)
from ops.local.sandbox.peers import Announcement, Key, Peers
from ops.local.sandbox.rules import Refusal, find_relations

OC000 = Refusal("40001", "change conflicts with another transaction (OC000)")
OC001 = Refusal("40001", "schema has been updated by another transaction (OC001)")
BLOCKED = "55P03"  # lock_timeout: another transaction holds a lock
# What a concurrent transaction can cause; 40P01 is a deadlock.
CONFLICT_SQLSTATES = {BLOCKED, "40001", "40P01", "23503", "23505"}
START, STATEMENT = "sandbox_start", "sandbox_statement"
RENEW = f"RELEASE SAVEPOINT {STATEMENT}; SAVEPOINT {STATEMENT}"
# What is written lies between two positions, with what others wrote meanwhile.
WAL_POSITION = "pg_current_wal_insert_lsn()"
MEASURE = "SBX01"  # so much lies between them that rows must be measured
FOR_UPDATE = "FOR UPDATE"


class LockedByBothError(Exception):
    """Two concurrent transactions locked one row FOR UPDATE."""


@dataclass(slots=True)
class Footprint:
    """What a transaction did that others may conflict with."""

    since: int = 0  # Peers.commits when it began
    constraints: Sequence[str] = ()  # its SET CONSTRAINTS, which hold for shadows too
    texts: list[str] = field(default_factory=list)  # statements that wrote or locked
    keys: list[Key] = field(default_factory=list)  # that it has locked
    announced: Announcement | None = None  # when its COMMIT is under way
    saved: bool = False  # both savepoints stand
    position: str = ""  # in the write-ahead log at its first write
    in_shadows: bool = False  # it goes on in shadows
    shadows: set[str] = field(default_factory=set)  # the tables that have one

    def names(self) -> set[str]:
        return {name for text in self.texts for name in find_relations(text)}


def renew_savepoints(footprint: Footprint, *, begin: bool) -> Task:
    """Renew the savepoint that the next statement is rolled back to."""
    if footprint.saved:
        yield from run_sql(RENEW)
        return
    # The snapshot is the statement's own all the same: there is none before.
    response = yield from run_sql(
        ("BEGIN; " if begin else "")
        + f"SAVEPOINT {START}; SAVEPOINT {STATEMENT}; SELECT {WAL_POSITION}"
    )
    ((footprint.position,),) = parse_rows(response)
    footprint.saved = True


def undo_statement() -> Task:
    """Undo the statement."""
    yield from run_sql(f"ROLLBACK TO SAVEPOINT {STATEMENT}")


def move_to_shadows(footprint: Footprint) -> Task:
    """Free all locks and go on in shadows. Raises UpstreamError."""
    found = parse_rows((yield from _call("related", _names(footprint))))
    unchanged, written = {}, {}
    for name, columns in found:
        unchanged[name] = yield from _copy(name, columns, "NOT")
        written[name] = yield from _copy(name, columns, "")
    yield from run_sql(f"ROLLBACK TO SAVEPOINT {START}")
    for name, columns in found:
        yield from _call("make_shadow", f"'{_text(name)}'::pg_catalog.regclass")
        yield from run_sql(_fill(name, columns), unchanged[name])
    yield from run_sql(f"SELECT sandbox.note_fill(); SAVEPOINT {STATEMENT}")
    for name, columns in found:
        if written[name]:
            yield from run_sql(_fill(name, columns), written[name])
    yield from _call("link_shadows")
    yield from _set_constraints(footprint)
    footprint.in_shadows = True
    footprint.shadows = {name for name, _ in found}


def bypasses_shadows(names: frozenset[str], calls: frozenset[str]) -> Steps[bool]:
    """Whether a statement would read or write the tables, not their shadows."""
    found = yield from _call("bypasses_shadows", _array(names), _texts(calls))
    return parse_rows(found) == [["t"]]


def shadow_more(footprint: Footprint) -> Task:
    """Shadow also what the next statement may write."""
    response = yield from _call("shadow", _names(footprint))
    if new := {name for (name,) in parse_rows(response)}:
        footprint.shadows |= new
        yield from _set_constraints(footprint)


def _set_constraints(footprint: Footprint) -> Task:
    """Repeat when constraints are checked: a shadow's are found before its table's."""
    for text in footprint.constraints:
        yield from run_sql(text)


def note_locks(footprint: Footprint, locks: str, names: frozenset[str]) -> Task:
    """Remember the rows that the last statement locked."""
    response = yield from _call("find_locked", _array(names))
    footprint.keys += [[*key, locks] for key in parse_rows(response)]
    if locks == FOR_UPDATE:
        yield from _call("touch", _array(names))


def has_duplicate_key(names: frozenset[str]) -> Steps[bool]:
    """Whether the last statement overlooked a key that was taken under the snapshot."""
    ((found,),) = parse_rows((yield from _call("has_duplicate_key", _array(names))))
    return found == "t"


def find_cascades(peers: Peers) -> Steps[bool]:
    """Whether any foreign key of the cluster changes other rows than a statement says."""
    catalog, found = peers.cascades
    if catalog != peers.catalog:
        catalog = peers.catalog
        ((response,),) = parse_rows((yield from run_sql("SELECT sandbox.cascades()")))
        found = response == "t"
        peers.cascades = catalog, found
    return found


def find_writing_functions(peers: Peers, calls: frozenset[str]) -> Steps[bool]:
    """Whether one of these functions may write, by what the catalog says of it."""
    if peers.are_readers(calls):
        return False
    if peers.readers[0] != peers.catalog:
        peers.readers = peers.catalog, set()
    response = yield from _call("find_writing_functions", _texts(calls))
    found = {name for (name,) in parse_rows(response)}
    peers.readers[1].update(calls - found)
    return bool(found)


def count_written_rows() -> Steps[int]:
    """How many rows this transaction wrote, by whatever statement or constraint."""
    ((count,),) = parse_rows(
        (yield from run_sql("SELECT sandbox.count_written_rows()"))
    )
    return int(count)


def check_last_statement(names: frozenset[str]) -> Task:
    """Raise it when the last statement wrote a value that is too large."""
    yield from _call("check_last", _array(names))


def check_own_constraints(footprint: Footprint) -> Task:
    """Raise what COMMIT would find wrong without any other transaction."""
    yield from run_sql("SET CONSTRAINTS ALL IMMEDIATE; SELECT sandbox.check_shadows()")


def check_commit(footprint: Footprint, peers: Peers, *, commit: bool) -> Task:
    """All that COMMIT would find, after a savepoint that can be rolled back to.

    With ``commit`` it is sent in the same message if nothing has to be looked at first.
    Raises UpstreamError.
    """
    if not footprint.in_shadows and not peers.locked_since(footprint.since):
        size = f"SELECT sandbox.check_written('{footprint.position}')"
        end = "; COMMIT" if commit else ""
        announce(footprint, peers)
        try:
            yield from run_sql(f"{RENEW}; SET CONSTRAINTS ALL IMMEDIATE; {size}{end}")
        except UpstreamError as error:
            withdraw(footprint, peers)
            if error.sqlstate != MEASURE:
                raise
            yield from undo_statement()
        else:
            return
    yield from run_sql(RENEW)
    if footprint.in_shadows:
        yield from run_sql("SET CONSTRAINTS ALL DEFERRED")
        yield from _call("apply_shadows")
        yield from _call("lock_keys", _json(footprint.keys))
    yield from run_sql("SET CONSTRAINTS ALL IMMEDIATE")
    yield from _call("check_size", _names(footprint))
    # Last: a transaction that was waited for has been announced by now.
    if theirs := peers.locked_since(footprint.since):
        yield from _look_for(theirs, footprint)
    announce(footprint, peers)


def _look_for(theirs: list[Key], footprint: Footprint) -> Task:
    """Raise a conflict with the keys that concurrent transactions had locked."""
    mine = {(key[0], key[1]) for key in footprint.keys if key[-1] == FOR_UPDATE}
    if any((k[0], k[1]) in mine and k[-1] == FOR_UPDATE for k in theirs):
        raise LockedByBothError
    yield from _call("check_keys_unchanged", _json(theirs), _names(footprint))


def announce(footprint: Footprint, peers: Peers) -> None:
    footprint.announced = peers.announce(footprint.keys)


def withdraw(footprint: Footprint, peers: Peers) -> None:
    if footprint.announced is not None:
        peers.withdraw(footprint.announced)
        footprint.announced = None


def _call(function: str, *arguments: str) -> Steps[list[bytes]]:
    call = f"SELECT * FROM sandbox.{function}({', '.join(arguments)})"  # noqa: S608 - quoted
    return (yield from run_sql(call))


def _copy(name: str, columns: str, own: str) -> Steps[list[bytes]]:
    """The rows of a table that this transaction wrote, or the others."""
    query = f"SELECT {columns} FROM {name} WHERE {own} sandbox.is_own(xmin)"  # noqa: S608 - quoted by PostgreSQL
    response = yield from run_sql(f"COPY ({query}) TO STDOUT")
    return [frame for frame in response if frame[0] == COPY_DATA]


def _fill(name: str, columns: str) -> str:
    table = name.partition('"."')[2]
    return f'COPY pg_temp."{table} ({columns}) FROM STDIN'


def _names(footprint: Footprint) -> str:
    return _array(footprint.names())


def _array(names: Iterable[str]) -> str:
    """The tables of these names, as they are found now."""
    found = (f"pg_catalog.to_regclass('{_text(name)}')" for name in sorted(names))
    return f"ARRAY[{', '.join(found)}]::pg_catalog.oid[]"


def _texts(values: Iterable[str]) -> str:
    quoted = ", ".join(f"'{_text(value)}'" for value in sorted(values))
    return f"ARRAY[{quoted}]::pg_catalog.text[]"


def _json(keys: list[Key]) -> str:
    parts = [[name, json.loads(key), *rest] for name, key, *rest in keys]
    return f"'{_text(json.dumps(parts))}'::pg_catalog.jsonb"


def _text(value: str) -> str:
    return value.replace("'", "''")


def encode_refusal(refusal: Refusal) -> bytes:
    return messages.error(
        refusal.sqlstate, refusal.message, detail=refusal.detail, hint=refusal.hint
    )
