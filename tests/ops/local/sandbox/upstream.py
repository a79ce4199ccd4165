"""What a session talks to in its tests: a PostgreSQL of bytes, and a client's view."""

from ops.local.sandbox import messages
from ops.local.sandbox.messages import Framer, cstring, cstrings, message
from ops.local.sandbox.rules.scan import split
from ops.local.sandbox.session import Session

ABORTED = (
    "current transaction is aborted, commands ignored until end of transaction block"
)
TAGS = {"SELECT": "SELECT 1", "INSERT": "INSERT 0 1", "UPDATE": "UPDATE 1"}
VERBS = {"BEGIN": "BEGIN", "COMMIT": "COMMIT", "END": "COMMIT"}
VERBS |= {"START": "START TRANSACTION"}
VERBS |= {"ROLLBACK": "ROLLBACK", "ABORT": "ROLLBACK"}
# What the session asks for itself, up to the parenthesis.
OWN_ROWS = {
    "SELECT pg_current_wal_insert_lsn": "0/0",
    "SELECT sandbox.submit_index": "a" * 26,
    "SELECT sandbox.cascades": "f",
    "SELECT sandbox.count_written_rows": "0",
    "SELECT * FROM sandbox.has_duplicate_key": "f",
}


class Upstream:
    """Answers each message as PostgreSQL does; ``log`` keeps what it ran.

    ``tags`` and ``errors`` (SQLSTATEs) by text of the statement; ``rows`` the value of
    its one row.
    """

    def __init__(self) -> None:
        self.tags: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.rows: dict[str, str] = {}
        self.log: list[str] = []
        self._framer = Framer()
        self._status = "I"
        self._skipping = False
        self._prepared: dict[str, str] = {}
        self._portals: dict[str, str] = {}

    def answer(self, data: bytes) -> bytes:
        return b"".join(self._message(kind, m) for kind, m in self._framer.feed(data))

    def _message(self, kind: int, whole: bytes) -> bytes:
        if kind == b"Q"[0]:
            self._skipping = False
            return self._query(cstring(whole, 5)[0]) + messages.ready(self._status)
        if kind == b"S"[0]:
            self._skipping = False
            return messages.ready(self._status)
        if kind == b"H"[0] or self._skipping:
            return b""
        return self._extended(chr(kind), whole)

    def _query(self, sql: str) -> bytes:
        answers = b""
        self._prepared.pop("", None)
        self._portals.pop("", None)
        for part in split(sql) or [""]:
            answer = self._run(part, describe=True)
            answers += answer
            if answer[:1] == b"E":
                break
        return answers

    def _extended(self, kind: str, whole: bytes) -> bytes:
        name, at = cstring(whole, 5)
        if kind == "P":
            sql = cstring(whole, at)[0]
            if self.errors.get(sql) == "42601" or self._aborts(sql):
                return self._run(sql, describe=False)
            if name and name in self._prepared:
                return self._fail(
                    "42P05", f'prepared statement "{name}" already exists'
                )
            self._prepared[name] = sql
        elif kind == "B":
            source = cstring(whole, at)[0]
            if source not in self._prepared:
                return self._fail(
                    "26000", f'prepared statement "{source}" does not exist'
                )
            self._portals[name] = self._prepared[source]
        elif kind == "D":
            kept = self._prepared if name[0] == "S" else self._portals
            return self._described(kept[name[1:]])
        elif kind == "E":
            return self._run(self._portals[name], describe=False)
        elif name[0] == "S":
            self._prepared.pop(name[1:], None)
        return message({"P": b"1", "B": b"2", "C": b"3"}[kind])

    def _fail(self, sqlstate: str, text: str) -> bytes:
        self._skipping = True
        self._status = "E" if self._status != "I" else "I"
        return messages.error(sqlstate, text)

    def deallocate(self) -> None:
        self._prepared.clear()

    def _aborts(self, sql: str) -> bool:
        return self._status == "E" and sql.partition(" ")[0] not in VERBS

    @staticmethod
    def _described(sql: str) -> bytes:
        if sql.startswith("SELECT"):
            return messages.text_column("value")
        return message(b"n")

    def _run(self, sql: str, *, describe: bool) -> bytes:
        sql = " ".join(sql.split())
        self.log.append(sql)
        verb = sql.partition(" ")[0]
        if sql.startswith("ROLLBACK TO"):
            self._status = "T"
        elif verb in VERBS and not (verb == "BEGIN" and self._status == "E"):
            return self._transaction(sql, verb)
        if not sql:
            return message(b"I")
        if sql in self.errors or self._status == "E":
            self._status = "E" if self._status != "I" else "I"
            self._skipping = not describe
            if sql not in self.errors:
                return messages.error("25P02", ABORTED)
            return messages.error(self.errors[sql], f"refused {sql}")
        column = messages.text_column("value") if describe else b""
        value = self.rows.get(sql) or OWN_ROWS.get(sql.partition("(")[0])
        row = messages.text_row(value) if value else b""
        tag = self.tags.get(sql) or TAGS.get(verb, " ".join(sql.split(" ")[:2]))
        shown = column + row if verb == "SELECT" else b""
        return shown + messages.complete(tag)

    def _transaction(self, sql: str, verb: str) -> bytes:
        begins = verb in ("BEGIN", "START") or sql.endswith("AND CHAIN")
        failed, self._status = self._status == "E", "T" if begins else "I"
        if sql in self.errors:
            return messages.error(self.errors[sql], f"refused {sql}")
        return messages.complete("ROLLBACK" if failed else VERBS[verb])


class Client:
    """Sends messages through a session and shows what the client gets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.upstream = Upstream()
        self.session = Session(clock=lambda: self.now)
        self.session.begin(b"startup")
        self.session.data_for_server()
        greeting = message(b"S", cstrings("server_version", "16.4"))
        self.session.receive_from_server(greeting + messages.ready("I"))
        self.greeting = self.session.data_for_client()

    def send(self, *sent: bytes) -> list[str]:
        """Every message that comes back: its type, then tag, status or error."""
        self.session.receive_from_client(b"".join(sent))
        data = self.session.data_for_client()
        while asked := self.session.data_for_server():
            self.session.receive_from_server(self.upstream.answer(asked))
            data += self.session.data_for_client()
        return [shown(whole) for _, whole in Framer().feed(data)]

    def query(self, sql: str) -> list[str]:
        return self.send(messages.query(sql))

    def execute(self, *statements: str) -> list[str]:
        """One pipeline: every statement, then one Sync."""
        return self.send(*(extended(sql) for sql in statements), SYNC)


SYNC, FLUSH, CLOSE = message(b"S"), message(b"H"), message(b"C", b"S\0")


def parse(sql: str, name: str = "") -> bytes:
    return message(b"P", cstrings(name, sql) + b"\0\0")


def bind(name: str = "", portal: str = "") -> bytes:
    return message(b"B", cstrings(portal, name) + b"\0\0\0\0\0\0")


def describe(kind: str = "P", name: str = "") -> bytes:
    return message(b"D", cstrings(kind + name))


def run(portal: str = "") -> bytes:
    return message(b"E", cstrings(portal) + b"\0\0\0\0")


def extended(sql: str) -> bytes:
    return parse(sql) + bind() + run()


def shown(whole: bytes) -> str:
    kind = chr(whole[0])
    if kind == "C":
        return f"C {cstring(whole, 5)[0]}"
    if kind == "Z":
        return f"Z {chr(whole[5])}"
    if kind == "E":
        fields = messages.error_fields(whole)
        return f"E {fields['C']} {fields['M']}"
    return kind
