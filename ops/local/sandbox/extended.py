"""The extended protocol: Parse, Bind, Describe, Execute, up to a Sync."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ops.local.sandbox import messages
from ops.local.sandbox.exchanges import (
    ACKNOWLEDGEMENTS,
    ERROR,
    EVERYTHING,
    NO_DATA,
    NOTHING,
    RESYNC,
    ROW,
    ROWS,
    Exchange,
    Steps,
    Task,
    find_error,
)
from ops.local.sandbox.execution import Execution
from ops.local.sandbox.messages import MalformedMessageError
from ops.local.sandbox.names import Names, Portal, Prepared
from ops.local.sandbox.repairs import Repairs, Unit
from ops.local.sandbox.rules import Kind, Statement, judge
from ops.local.sandbox.transactions import (
    ABORTED,
    ANEW,
    ENDINGS,
    FAILURE,
    FINAL_RESPONSES,
    LARGE,
    ErrorRelayed,
    Refused,
    Transaction,
)

PARSE, BIND, DESCRIBE, EXECUTE, SYNC, CLOSE = b"PBDESC"
STATEMENT_KIND = b"S"[0]
ALL_ROWS = b"\0\0\0\0"
FLUSH = messages.message(b"H")
BARE_READ = Statement("", Kind.READ)


def _parse_unnamed(prepared: Prepared) -> bytes:
    text = messages.cstrings("", prepared.statement.sql)
    return messages.message(b"P", text + prepared.types)


@dataclass(slots=True, eq=False)
class Extended(Execution):
    """``observe`` is called with every query string that the client sends."""

    observe: Callable[[str], None] = lambda _: None
    _skipping: bool = False  # to the next Sync, after an error
    _relayed: bool = False  # the batch went on as it came, with its Sync
    _names: Names = field(default_factory=Names)
    _unnamed: Prepared | None = (
        None  # Names.unnamed, in a batch that is being looked at
    )
    # Of the exchange that ended last: how many of the client's messages PostgreSQL has
    # acknowledged, and whether there was an error.
    _acknowledged_count: int = 0
    _seen: int = 0  # with those of the session's own messages
    _failed: bool = False

    def _run_batch(self, batch: list[bytes], *, synced: bool) -> Task:
        """The messages up to a Sync (or Flush); after an error they are skipped to Sync."""
        self._received_rows = self._relayed = False
        if not (yield from self._attempt(self._run_messages(batch, synced=synced))):
            self._skipping = True
        if synced and not (self._received_rows or self._relayed):
            yield from self._sync()

    def _run_messages(self, batch: list[bytes], *, synced: bool) -> Task:
        if synced and self._are_all_plain(batch):
            self._relayed = True
            yield from self._relay_batch(batch)
        else:
            yield from self._in_groups(batch)

    def _sync(self) -> Task:
        if self._txn.opened and not self._txn.explicit:
            try:
                yield from self._end("ROLLBACK" if self._skipping else "COMMIT")
            except ErrorRelayed:  # a conflict is the response to Sync
                yield from self._abort()
        response = yield RESYNC
        if (error := find_error(response)) is not None:
            self._relay_error(error)
        self._synced()

    def _synced(self) -> None:
        """Sync ends the skipping, and the transaction that no BEGIN opened."""
        self._skipping = False
        if self._status == "I" and not self._txn.explicit:
            if self._txn.since is not None or self._txn.constraints:
                self._txn = Transaction()
            self._names.portals.clear()
        self._to_client.append(messages.ready(self._client_status()))

    def _fail(self) -> Task:
        """As below; what has no name is prepared again, which an aborted block refuses."""
        unnamed = self._names.statements.get("")
        again = b"" if unnamed is None else _parse_unnamed(unnamed)
        yield Exchange(ANEW + again + FAILURE, count=2)
        parsed = self._acknowledged_count > len(("ROLLBACK", "BEGIN"))
        self._names.unnamed = unnamed if parsed else None
        self._names.invalidate_portals()
        self._fail_portals()

    def _fail_portals(self) -> None:
        self._names.fail_portals()

    # Batches that no rule touches

    def _are_all_plain(self, batch: list[bytes]) -> bool:
        """Whether no rule touches the batch, so that it may go through as it came."""
        if self._txn.opened or self._in_shadows or not self._is_unhindered():
            return False
        self._unnamed = self._names.unnamed
        plain = all(self._is_plain(frame) for frame in batch)
        if not plain:
            self._names.revert()
        return plain

    def _is_plain(self, frame: bytes) -> bool:
        kind, names = frame[0], self._names
        named: Prepared | Portal | None
        if kind == PARSE:
            name, sql, rest = self._parse_names(frame)
            statement = self._judge_parse(sql)
            if not statement.plain or statement.sql != sql:
                return False
            prepared = Prepared(statement, frame[rest:])
            names.parse(name, prepared)
            self._unnamed = self._unnamed if name else prepared
        elif kind == BIND:
            portal, name, rest = self._parse_names(frame)
            names.bind(portal, name, frame[rest:])
            return bool(name) or names.statements.get("") is self._unnamed
        elif kind == EXECUTE:
            names.enter_nothing()
            found = names.portals.get(messages.cstring(frame, 5)[0])
            if found is not None:
                statement = found.prepared.statement
                known = self.peers.are_readers(statement.calls)
                return found.alive and statement.plain and known
        else:
            named = self._find_named(frame)
            if isinstance(named, Portal):
                return named.alive
            return named is None or self._is_current(named, frame)
        return True

    def _find_named(self, frame: bytes) -> Prepared | Portal | None:
        """What a Describe shows or a Close ends, which is entered."""
        name, names = messages.cstring(frame, 6)[0], self._names
        if frame[0] == CLOSE:
            names.close(frame[5], name)
            return None
        names.enter_nothing()
        if frame[5] == STATEMENT_KIND:
            return names.statements.get(name)
        return names.portals.get(name)

    def _is_current(self, prepared: Prepared, describe: bytes) -> bool:
        """Whether PostgreSQL still has what is to be described under its name."""
        return describe[6] != 0 or prepared is self._unnamed

    def _relay_batch(self, batch: list[bytes]) -> Task:
        txn, names = self._txn, self._names
        self._catalog = self.peers.catalog
        if txn.explicit and txn.since is None:
            txn.since = self.peers.commits
        batch.append(RESYNC.send)
        yield Exchange(b"".join(batch), EVERYTHING)
        if self._failed:
            names.acknowledge(self._acknowledged_count)
            if self._unnamed is not names.unnamed:
                names.unnamed = None
            yield from self._abort()
        else:
            names.acknowledge_all()
            names.unnamed = self._unnamed
        self._synced()

    # Message by message

    def _in_groups(self, batch: list[bytes]) -> Task:
        """Each Execute is one exchange, with the messages before it that prepare it."""
        group: list[Unit] = []
        for frame in batch:
            try:
                if frame[0] == EXECUTE:
                    yield from self._classify_portal(frame)
                unit = self._unit(frame)
            except (Refused, MalformedMessageError):
                yield from self._send_pending(group)
                raise
            group.append(unit)
            if frame[0] == EXECUTE:
                yield from self._execute(group)
                group = []
        yield from self._send_pending(group)

    def _classify_portal(self, execute: bytes) -> Task:
        """Find out whether what is to be executed may write."""
        found = self._names.portals.get(messages.cstring(execute, 5)[0])
        if found is not None and self._txn.abort_reason is None:
            prepared = found.prepared
            prepared.statement = yield from self._classify(prepared.statement)

    def _unit(self, frame: bytes) -> Unit:
        kind, names = frame[0], self._names
        if kind == PARSE:
            return self._parse(frame)
        if kind == BIND:
            portal, name, rest = self._parse_names(frame)
            source = names.statements.get(name)
            self._raise_abort_reason(source.statement if source else BARE_READ)
            return Unit(frame, portal=names.bind(portal, name, frame[rest:]))
        if kind == EXECUTE:
            found = names.portals.get(messages.cstring(frame, 5)[0])
            if found is not None:
                self._check_portal(found)
            names.enter_nothing()
            return Unit(frame, portal=found)
        named = self._find_named(frame)
        if isinstance(named, Portal):
            return Unit(frame, portal=named)
        return Unit(frame, named)

    @staticmethod
    def _parse_names(frame: bytes) -> tuple[str, str, int]:
        """The two texts that a Parse or a Bind begins with, and where its rest begins."""
        first, at = messages.cstring(frame, 5)
        second, rest = messages.cstring(frame, at)
        return first, second, rest

    def _sql_for(self, prepared: Prepared) -> str:
        return self._redirected_sql(prepared.statement)

    def _judge_parse(self, sql: str) -> Statement:
        self.observe(sql)
        found = judge(sql)
        # PostgreSQL itself words its refusal of several statements in one Parse.
        return found[0] if len(found) == 1 else Statement(sql, Kind.READ)

    def _parse(self, frame: bytes) -> Unit:
        name, sql, rest = self._parse_names(frame)
        statement = self._judge_parse(sql)
        self._raise_abort_reason(statement)
        self._raise_refusal(statement)
        prepared = Prepared(statement, frame[rest:])
        self._names.parse(name, prepared)
        text = messages.cstrings(name, statement.sql) + prepared.types
        return Unit(messages.message(b"P", text), prepared=prepared)

    def _check_portal(self, portal: Portal) -> None:
        statement = portal.prepared.statement
        ends = statement.kind in ENDINGS
        if (self._status == "E" and portal.failed) or (self._aborted and not ends):
            raise Refused(ABORTED)
        if not (ends or portal.started):
            self._check(statement)

    def _send_pending(self, group: list[Unit]) -> Task:
        if not group:
            return
        described = next((u for u in group if u.frame[0] == DESCRIBE), None)
        response = yield from self._send_group(
            group, EVERYTHING - {ERROR}, self._replacements(described)
        )
        if (error := find_error(response)) is not None:
            self._relay_error(error)
            raise ErrorRelayed

    @staticmethod
    def _replacements(unit: Unit | None) -> Mapping[int, bytes]:
        if unit is None:
            return {}
        prepared = unit.prepared or (unit.portal and unit.portal.prepared)
        if prepared and prepared.statement.submits:
            column = messages.text_column("job_id")
            return {NO_DATA: column, ROWS: column, ROW: b""}
        if prepared and prepared.statement.discard_rows:
            return {ROWS: messages.message(b"n"), ROW: b""}
        return {}

    # Execute

    def _execute(self, group: list[Unit]) -> Task:
        portal = group[-1].portal
        if portal is None:
            yield from self._send_pending(group)
            return
        statement, fresh = portal.prepared.statement, not portal.started
        ends = statement.kind in ENDINGS
        if ends:  # what precedes it may fail, and then nothing ends
            yield from self._send_pending(group[:-1])
            group = group[-1:]
        if fresh and not self._aborted:
            yield from self._prepare(statement)
        contends = fresh and not ends and not self._aborted
        if contends and statement.copies:
            yield from self._send_pending(group[:-1])
            response = yield from self._copy(statement)
            portal.started = True
            yield from self._handle_response(statement, response, describe=False)
            return
        self._partial = group[-1].frame[-4:] != ALL_ROWS
        self._is_large = len(portal.values) + len(statement.sql) > LARGE
        if contends and self._contends(statement):
            response = yield from self._contend(
                statement, lambda again: self._send_group(group, again=again)
            )
            self._relay(group[-1], response)
        else:
            collected = frozenset({ROW} if statement.estimates else ())
            response = yield from self._send_group(
                group,
                EVERYTHING - FINAL_RESPONSES - collected,
                self._replacements(group[-1]),
            )
            self._to_client += [frame for frame in response if frame[0] in collected]
        portal.started = True
        if not fresh:
            self._measured = 0  # its rows are counted already
        if ends:
            self._names.portals.clear()
            self._handle_end(statement, response)
        yield from self._handle_response(statement, response, describe=False)
        if statement.deallocates is not None:
            self._names.deallocate(statement.deallocates)
        if ends or statement.kind is Kind.BEGIN:
            yield RESYNC  # to know in what state the next one begins
            self._note_begin()

    def _relay(self, unit: Unit, response: Sequence[bytes]) -> None:
        replace = self._replacements(unit)
        for frame in response:
            if frame[0] not in FINAL_RESPONSES:
                self._to_client.append(replace.get(frame[0], frame))

    def _send_group(
        self,
        group: Sequence[Unit],
        relay: frozenset[int] = NOTHING,
        replace: Mapping[int, bytes] | None = None,
        *,
        again: bool = False,
    ) -> Steps[list[bytes]]:
        """The client's messages, with what makes their names right."""
        repairs = Repairs(self._names.unnamed, self._sql_for, again)
        repairs.add(group)
        response = yield Exchange(
            b"".join(repairs.parts) + FLUSH,
            relay,
            ACKNOWLEDGEMENTS,
            len(repairs.parts),
            replace or {},
            frozenset(repairs.hidden),
        )
        if self._failed:
            self._names.acknowledge(self._acknowledged_count)
            if repairs.replaced_at is not None and self._seen >= repairs.replaced_at:
                self._names.unnamed = None
        else:
            self._names.acknowledge_all()
            self._names.unnamed = repairs.known
            for unit in group:
                if unit.portal is not None:
                    unit.portal.alive = True
        return response
