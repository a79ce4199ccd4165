"""The extended protocol: Parse, Bind, Describe, Execute, up to a Sync."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ops.sandbox import messages
from ops.sandbox.exchanges import (
    COMPLETE,
    EMPTY,
    ERROR,
    EVERYTHING,
    NO_DATA,
    ROW,
    ROWS,
    SUSPENDED,
    Exchange,
    Steps,
    Task,
    UpstreamError,
    error_in,
)
from ops.sandbox.rules import Kind, Statement, judge
from ops.sandbox.transactions import (
    ABORTED,
    ANSWERS,
    AnsweredWithError,
    Refused,
    Transaction,
    Transactions,
)

PARSE, BIND, DESCRIBE, EXECUTE, SYNC = b"PBDES"
FLUSH, SYNCED, PARSED = (messages.message(kind) for kind in (b"H", b"S", b"1"))
ENDINGS = (Kind.COMMIT, Kind.ROLLBACK)
# The one message that ends PostgreSQL's answer to each message of the extended protocol.
ACKNOWLEDGEMENTS = frozenset(b"123") | {ROWS, NO_DATA, COMPLETE, EMPTY, SUSPENDED}
BARE_READ = Statement("", Kind.READ)


@dataclass(slots=True, eq=False)
class Extended(Transactions):
    _skipping: bool = False  # to the next Sync, after an error
    # By name: the verdict, and the types of the parameters as they were sent.
    _prepared: dict[str, tuple[Statement, bytes]] = field(default_factory=dict)
    _portals: dict[str, Statement] = field(default_factory=dict)

    def _extended(self, batch: list[bytes], end: bytes) -> Task:
        """The messages up to a Sync (or Flush); after an error they are skipped to Sync."""
        synced = end[0] == SYNC
        try:
            self._check_struck()
            if synced and not self._skipping and self._all_plain(batch):
                self._check(BARE_READ)
                yield Exchange(b"".join(batch) + end, EVERYTHING)
                self._synced()
                return
            if not self._skipping:
                yield from self._in_groups(batch)
        except Refused as error:
            self._skipping = True
            yield from self._refuse(error.refusal)
        except UpstreamError as error:
            self._skipping = True
            yield from self._refuse(self._verdict_on(error))
        except AnsweredWithError:
            self._skipping = True
        if synced:
            yield from self._sync(end)

    def _sync(self, end: bytes) -> Task:
        if self._txn.opened and not self._txn.explicit:
            with suppress(AnsweredWithError):  # a conflict is the answer to Sync
                yield from self._end("ROLLBACK" if self._skipping else "COMMIT")
        answer = yield Exchange(end)
        if (error := error_in(answer)) is not None:
            self._show_error(error)
        self._synced()

    def _synced(self) -> None:
        """Sync ends the skipping, and the transaction that no BEGIN opened."""
        self._skipping = False
        if self._status == "I" and not self._txn.explicit:
            self._txn = Transaction()
        self._to_client.append(messages.ready(self._shown_status()))

    def _all_plain(self, batch: list[bytes]) -> bool:
        """Whether no rule touches the batch, so that it may go through as it came."""
        if self._txn.opened or self._aside:
            return False
        for whole in batch:
            kind = whole[0]
            if kind == PARSE:
                name, statement, rest = self._judged(whole)
                unchanged = whole.endswith(statement.sql.encode() + b"\0", 0, rest)
                if not (statement.plain and unchanged):
                    return False
                self._prepared[name] = statement, whole[rest:]
            elif kind == BIND:
                self._bind(whole)
            elif kind == EXECUTE and not self._portal(whole).plain:
                return False
        return True

    def _in_groups(self, batch: list[bytes]) -> Task:
        """Each Execute is one exchange, with the messages before it that prepare it."""
        group: list[bytes] = []
        for whole in batch:
            kind = whole[0]
            try:
                if kind == PARSE:
                    whole = self._parse(whole)
                elif kind == BIND:
                    self._bind(whole)
                elif kind == EXECUTE:
                    self._admit(self._portal(whole))
            except Refused:
                yield from self._acknowledged(group, BARE_READ)
                raise
            group.append(whole)
            if kind == EXECUTE:
                yield from self._execute(group, self._portal(whole))
                group = []
        described = next((self._described(m) for m in group if m[0] == DESCRIBE), None)
        yield from self._acknowledged(group, described or BARE_READ)

    def _acknowledged(self, group: list[bytes], statement: Statement) -> Task:
        if not group:
            return
        answer = yield Exchange(
            b"".join(group) + FLUSH,
            EVERYTHING - {ERROR},
            ACKNOWLEDGEMENTS,
            len(group),
            self._replacements(statement),
        )
        if (error := error_in(answer)) is not None:
            self._show_error(error)
            raise AnsweredWithError

    @staticmethod
    def _replacements(statement: Statement) -> Mapping[int, bytes]:
        if statement.submits:
            column = messages.text_column("job_id")
            return {NO_DATA: column, ROWS: column, ROW: b""}
        if statement.discard_rows:
            return {ROWS: messages.message(b"n"), ROW: b""}
        return {}

    def _described(self, whole: bytes) -> Statement | None:
        name = messages.cstring(whole, 6)[0]
        if whole[5] == b"S"[0]:
            return self._prepared.get(name, (None, b""))[0]
        return self._portals.get(name)

    def _portal(self, whole: bytes) -> Statement:
        return self._portals.get(messages.cstring(whole, 5)[0], BARE_READ)

    def _bind(self, whole: bytes) -> None:
        portal, at = messages.cstring(whole, 5)
        name, _ = messages.cstring(whole, at)
        self._portals[portal] = self._prepared.get(name, (BARE_READ, b""))[0]

    @staticmethod
    def _judged(whole: bytes) -> tuple[str, Statement, int]:
        """The name, the statement and where the parameter types begin in a Parse."""
        name, at = messages.cstring(whole, 5)
        sql, rest = messages.cstring(whole, at)
        found = judge(sql)
        # PostgreSQL itself words its refusal of several statements in one Parse.
        return name, found[0] if len(found) == 1 else Statement(sql, Kind.READ), rest

    def _parse(self, whole: bytes) -> bytes:
        name, statement, rest = self._judged(whole)
        aborted = self._txn.failed or self._status == "E"
        if aborted and statement.kind not in ENDINGS:
            raise Refused(ABORTED)
        if statement.refusal:
            raise Refused(statement.refusal)
        self._prepared[name] = statement, whole[rest:]
        return messages.message(
            b"P", messages.cstrings(name, statement.sql) + whole[rest:]
        )

    def _admit(self, statement: Statement) -> None:
        if statement.kind not in ENDINGS:
            self._check(statement)

    def _execute(self, group: list[bytes], statement: Statement) -> Task:
        ends = statement.kind in ENDINGS
        if ends and self._txn.failed:
            yield from self._acknowledged(group[:-1], statement)
            self._over(committed=False)
            self._to_client.append(messages.complete("ROLLBACK"))
            return
        if statement.kind is Kind.COMMIT:
            yield from self._settle()
        yield from self._await_job(statement)
        bound = any(whole[0] == BIND for whole in group)
        if bound and self._contends(statement) and not ends:
            yield from self._guard(statement)
            answer = yield from self._contend(
                statement, lambda again: self._send_group(group, again=again)
            )
            self._relay(statement, answer)
        elif bound and ends:
            answer = yield from self._send_group(group, again=False)
            self._relay(statement, answer)
        else:
            answer = yield Exchange(
                b"".join(group) + FLUSH,
                EVERYTHING - ANSWERS,
                ACKNOWLEDGEMENTS,
                len(group),
                self._replacements(statement),
            )
        if ends:
            committed = statement.kind is Kind.COMMIT and self._status == "T"
            self._over(committed=committed and error_in(answer) is None)
        yield from self._answered(statement, answer, describe=False)
        if statement.kind is Kind.BEGIN:
            self._txn.explicit, self._txn.started = True, self.clock()
        if ends or statement.kind is Kind.BEGIN:
            yield Exchange(SYNCED)  # to know in what state the next one begins

    def _relay(self, statement: Statement, answer: Sequence[bytes]) -> None:
        replace = self._replacements(statement)
        for whole in answer:
            if whole[0] not in ANSWERS:
                self._to_client.append(replace.get(whole[0], whole))

    def _send_group(self, group: list[bytes], *, again: bool) -> Steps[list[bytes]]:
        """The client's messages, but each Bind is to a Parse of its own.

        Requests of the session lie between the client's Parse and its Bind, and names
        may mean other tables by now. What is said ``again`` must not prepare a name twice.
        """
        parts: list[
            tuple[bytes, bool]
        ] = []  # what is sent, whether its answer is shown
        for whole in group:
            if whole[0] == BIND:
                parts += self._fresh_bind(whole)
            elif whole[0] == PARSE and again and whole[5]:
                parts.append((b"", True))
            else:
                parts.append((whole, True))
        count = sum(1 for send, _ in parts if send)
        send = b"".join(send for send, _ in parts) + FLUSH
        answer = yield Exchange(send, until=ACKNOWLEDGEMENTS, count=count)
        if error_in(answer) is not None:
            yield Exchange(SYNCED)
        return list(self._shown(parts, answer))

    def _fresh_bind(self, whole: bytes) -> list[tuple[bytes, bool]]:
        portal, at = messages.cstring(whole, 5)
        name, rest = messages.cstring(whole, at)
        if name not in self._prepared:
            return [(whole, True)]  # PostgreSQL words the error
        statement, types = self._prepared[name]
        parse = messages.cstrings("", self._led(statement)) + types
        bind = messages.cstrings(portal, "") + whole[rest:]
        return [
            (messages.message(b"P", parse), False),
            (messages.message(b"B", bind), True),
        ]

    @staticmethod
    def _shown(
        parts: Sequence[tuple[bytes, bool]], answer: Sequence[bytes]
    ) -> Iterator[bytes]:
        left = deque(parts)
        for whole in answer:
            while left and not left[0][0]:
                left.popleft()
                yield PARSED
            if whole[0] not in ACKNOWLEDGEMENTS or left.popleft()[1]:
                yield whole
