"""Two to four sessions at a time against snapshot isolation, first committer wins."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ops.local.sandbox import messages
from tests.fuzz.talk import End
from tests.ops.local.sandbox.upstream import SYNC, extended

TABLE = "CREATE TABLE r (id int PRIMARY KEY, v int, u int UNIQUE)"
KEYS = range(1, 5)
CONFLICT = "E 40001 change conflicts with another transaction (OC000)"
Row = tuple[int, int]  # v, u
Step = tuple[int, str, bool]  # who, what, by the extended protocol
SQL = {
    "begin": "BEGIN",
    "commit": "COMMIT",
    "rollback": "ROLLBACK",
    "read": "SELECT id, v, u FROM r ORDER BY id",
}


def steps(draw: random.Random) -> list[Step]:
    sessions = draw.randint(2, 4)
    found = []
    for _ in range(draw.randint(4, 22)):
        key, value = draw.choice(KEYS), draw.randint(10, 99)
        what = draw.choice([
            "begin", "begin", "commit", "commit", "rollback", "read", "read",
            f"insert {key} {value}", f"skip {key} {value}", f"upsert {key} {value}",
            f"update {key} {value}", f"update {key} {value}", f"delete {key} 0",
            f"lock {key} 0", f"unique {key} {draw.choice(KEYS)}",
        ])  # fmt: skip
        found.append((draw.randrange(sessions), what, draw.random() < 0.5))
    return found


def sql_of(what: str) -> str:
    if what in SQL:
        return SQL[what]
    verb, key, value = what.split()
    insert = f"INSERT INTO r VALUES ({key}, {value}, {int(key) * 100})"
    return {
        "insert": insert,
        "skip": f"{insert} ON CONFLICT (id) DO NOTHING",
        "upsert": f"{insert} ON CONFLICT (id) DO UPDATE SET v = excluded.v",
        "update": f"UPDATE r SET v = {value} WHERE id = {key}",
        "delete": f"DELETE FROM r WHERE id = {key}",
        "lock": f"SELECT v FROM r WHERE id = {key} FOR UPDATE",
        "unique": f"UPDATE r SET u = {int(value) * 100} WHERE id = {key}",
    }[verb]


@dataclass
class Transaction:
    began: int  # commits before it
    rows: dict[int, Row]  # as it sees them
    touched: set[str] = field(default_factory=set)  # keys that it wrote or locked
    failed: bool = False
    seen: dict[int, Row] = field(default_factory=dict)  # the rows of its snapshot

    def effects(self) -> set[str]:
        """What it touched and left: a row that it added and deleted is none."""
        ids = {k for k in KEYS if f"id {k}" in self.touched}
        left = {f"id {k}" for k in ids if k in self.seen or k in self.rows}
        return left | {f"u {self.rows[k][1]}" for k in ids if k in self.rows}


@dataclass
class Model:
    rows: dict[int, Row] = field(default_factory=dict)
    commits: list[set[str]] = field(default_factory=list)
    open: dict[int, Transaction | None] = field(default_factory=dict)

    def run(self, who: int, what: str) -> list[str]:
        """What the session is told: its rows, tags and errors."""
        txn: Transaction | Literal[False] | None = self.open.get(who, False)
        if what == "begin":
            if txn is False:
                self.open[who] = None  # its snapshot is taken by its first statement
            elif txn and txn.failed:
                return ["E 25P02"]
            return ["C BEGIN"]
        if what in ("commit", "rollback"):
            return self._end(who, what)
        if txn is False:
            txn = self._snapshot()
            answer = self._statement(txn, what)
            locks = what.startswith("lock")  # of one statement: nothing is left of it
            if not txn.failed and not locks:
                self._publish(txn)
            return answer
        if txn is None:
            txn = self.open[who] = self._snapshot()
        assert isinstance(txn, Transaction)
        return ["E 25P02"] if txn.failed else self._statement(txn, what)

    def _snapshot(self) -> Transaction:
        return Transaction(len(self.commits), dict(self.rows), seen=dict(self.rows))

    def _end(self, who: int, what: str) -> list[str]:
        txn = self.open.pop(who, None)
        if txn is None:
            return [f"C {what.upper()}"]
        if txn.failed or what == "rollback":
            return ["C ROLLBACK"]
        mine = {effect for effect in txn.effects() if self._is_left(effect, txn)}
        if any(mine & theirs for theirs in self.commits[txn.began :]):
            return [CONFLICT]
        self._publish(txn)
        return ["C COMMIT"]

    def _is_left(self, effect: str, txn: Transaction) -> bool:
        """A limit of the sandbox: of a key that others added and deleted, nothing is."""
        kind, value = effect.split()
        if kind == "u":
            return any(row[1] == int(value) for row in self.rows.values())
        return int(value) in txn.seen or int(value) in self.rows

    def _publish(self, txn: Transaction) -> None:
        effects = txn.effects()
        for key in KEYS:
            if f"id {key}" in effects:
                self.rows.pop(key, None)
                if key in txn.rows:
                    self.rows[key] = txn.rows[key]
        if effects:
            self.commits.append(effects)

    def _statement(self, txn: Transaction, what: str) -> list[str]:
        if what == "read":
            shown = [f"D {key} {v} {u}" for key, (v, u) in sorted(txn.rows.items())]
            return [*shown, f"C SELECT {len(shown)}"]
        verb, first, second = what.split()
        key, value = int(first), int(second)
        return getattr(self, f"_{verb}")(txn, key, value)  # type: ignore[no-any-return]

    def _taken(self, txn: Transaction, u: int, but: int) -> bool:
        return any(row[1] == u for key, row in txn.rows.items() if key != but)

    def _fail(self, txn: Transaction, name: str) -> list[str]:
        txn.failed = True
        return [f'E 23505 duplicate key value violates unique constraint "{name}"']

    def _write(self, txn: Transaction, key: int, row: Row | None) -> None:
        txn.touched.add(f"id {key}")
        if row is None:
            del txn.rows[key]
        else:
            txn.rows[key] = row

    def _insert(self, txn: Transaction, key: int, value: int) -> list[str]:
        if key in txn.rows:
            return self._fail(txn, "r_pkey")
        if self._taken(txn, key * 100, key):
            return self._fail(txn, "r_u_key")
        self._write(txn, key, (value, key * 100))
        return ["C INSERT 0 1"]

    def _skip(self, txn: Transaction, key: int, value: int) -> list[str]:
        return ["C INSERT 0 0"] if key in txn.rows else self._insert(txn, key, value)

    def _upsert(self, txn: Transaction, key: int, value: int) -> list[str]:
        if key not in txn.rows:
            return self._insert(txn, key, value)
        self._write(txn, key, (value, txn.rows[key][1]))
        return ["C INSERT 0 1"]

    def _update(self, txn: Transaction, key: int, value: int) -> list[str]:
        if key not in txn.rows:
            return ["C UPDATE 0"]
        self._write(txn, key, (value, txn.rows[key][1]))
        return ["C UPDATE 1"]

    def _unique(self, txn: Transaction, key: int, value: int) -> list[str]:
        if key not in txn.rows:
            return ["C UPDATE 0"]
        if self._taken(txn, value * 100, key):
            return self._fail(txn, "r_u_key")
        self._write(txn, key, (txn.rows[key][0], value * 100))
        return ["C UPDATE 1"]

    def _delete(self, txn: Transaction, key: int, value: int) -> list[str]:
        if key not in txn.rows:
            return ["C DELETE 0"]
        self._write(txn, key, None)
        return ["C DELETE 1"]

    def _lock(self, txn: Transaction, key: int, value: int) -> list[str]:
        if key not in txn.rows:
            return ["C SELECT 0"]
        txn.touched.add(f"id {key}")
        return [f"D {txn.rows[key][0]}", "C SELECT 1"]


def differs(found: Sequence[Step], connect: Callable[[], End]) -> str | None:
    """The first step whose answer the model does not expect."""
    ends = [connect() for _ in range(4)]
    model = Model()
    try:
        ends[0].say(messages.query("DELETE FROM r"))
        for number, (who, what, is_extended) in enumerate(found):
            sql = sql_of(what)
            send = extended(sql) + SYNC if is_extended else messages.query(sql)
            mine = [_shown(line) for line in ends[who].say(send) if line[0] in "DCE"]
            expected = model.run(who, what)
            if not _agree(mine, expected):
                script = "\n".join(
                    f"  {n}: {s} {sql_of(w)}"
                    for n, (s, w, _) in enumerate(found[: number + 1])
                )
                return f"{script}\n  sandbox {mine}\n  model   {expected}"
    finally:
        for end in ends:
            end.close()
    return None


def _agree(mine: list[str], expected: list[str]) -> bool:
    if expected == ["E 25P02"]:
        return len(mine) == 1 and mine[0].startswith("E 25P02")
    return mine == expected


def _shown(line: str) -> str:
    """A row as text: its values come as hexadecimal digits."""
    if line[0] != "D":
        return line
    data = bytes.fromhex(line[2:])
    values, at = [], 2
    for _ in range(int.from_bytes(data[:2], "big")):
        size = int.from_bytes(data[at : at + 4], "big")
        values.append(data[at + 4 : at + 4 + size].decode())
        at += 4 + size
    return f"D {' '.join(values)}"
