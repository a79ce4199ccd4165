"""One session: whatever both can do, the sandbox answers as PostgreSQL does.

No statement's answer depends on where its rows lie.
"""

import random
from collections.abc import Sequence

from ops.local.sandbox import messages
from ops.local.sandbox.messages import cstrings, message
from tests.fuzz.talk import End
from tests.ops.local.sandbox.upstream import (
    FLUSH,
    SYNC,
    bind,
    describe,
    extended,
    parse,
    run,
)

TABLE = "CREATE TABLE f (id int PRIMARY KEY, v int, note text CHECK (note <> 'no'))"
STATEMENTS = [
    "SELECT 1", "SELECT 1 AS one, 'two' AS two", "SELECT id, v FROM f ORDER BY id",
    "SELECT count(*) FROM f WHERE v > 1", "VALUES (1), (2)", "SHOW timezone", "",
    "INSERT INTO f VALUES (1, 1)", "INSERT INTO f VALUES (2, 2), (3, 3) RETURNING id",
    "INSERT INTO f SELECT g, g FROM generate_series(10, 12) g ON CONFLICT DO NOTHING",
    "INSERT INTO f VALUES (1, 5) ON CONFLICT (id) DO UPDATE SET v = f.v + 1 RETURNING v",
    "UPDATE f SET v = v + 1 WHERE id = 1", "UPDATE f SET id = id + 100", "DELETE FROM f",
    "DELETE FROM f WHERE id = 2 RETURNING *", "SELECT id FROM f WHERE id = 1 FOR UPDATE",
    "WITH d AS (DELETE FROM f WHERE id > 2 RETURNING id) SELECT count(*) FROM d",
    "SELECT 1/0", "SELECT nope FROM f", "SELECT * FROM nowhere", "SELEC 1", "SELECT (",
    "INSERT INTO f VALUES (7, 7, 'no')", "INSERT INTO f VALUES ('x')", "SELECT 'a'::int",
    "BEGIN", "START TRANSACTION", "COMMIT", "ROLLBACK", "END", "ABORT",
    "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "SET timezone = 'Asia/Tokyo'",
    "SET LOCAL timezone = 'UTC'", "RESET timezone", "DEALLOCATE ALL",
    "SET CONSTRAINTS ALL IMMEDIATE",
]  # fmt: skip
PARAMETRIZED = [
    "SELECT $1::int + 1", "SELECT id FROM f WHERE id = $1", "INSERT INTO f VALUES ($1, 0)",
    "UPDATE f SET v = $1", "DELETE FROM f WHERE id = $1 RETURNING v",
]  # fmt: skip
NAMES = ["", "a", "b"]
# A portal of the empty name lives up to the next request of the sandbox's own.
PORTALS = ["a", "b"]


def conversation(draw: random.Random) -> list[bytes]:
    """Turns, each of which ends with a ReadyForQuery."""
    return [_turn(draw) for _ in range(draw.randint(3, 14))]


def _turn(draw: random.Random) -> bytes:
    chance = draw.random()
    if chance < 0.35:
        return messages.query(draw.choice(STATEMENTS))
    if chance < 0.45:
        parts = [draw.choice(STATEMENTS) for _ in range(draw.randint(2, 4))]
        return messages.query("; ".join(parts))
    units = (_unit(draw) for _ in range(draw.randint(1, 6)))
    return b"".join(units) + SYNC


def _unit(draw: random.Random) -> bytes:
    name, portal = draw.choice(NAMES), draw.choice(PORTALS)
    values = (
        cstrings(portal, name) + b"\0\0\0\x01\0\0\0\x01" + draw.choice([b"7", b"x"])
    )
    some = message(b"E", cstrings(portal) + b"\0\0\0\x02")
    text = draw.choice(STATEMENTS)
    return draw.choice([
        extended(text), extended(text), extended(text),
        parse(text) + bind() + describe() + run(), parse(text, name),
        parse(draw.choice(PARAMETRIZED), name),
        message(b"P", cstrings("", draw.choice(PARAMETRIZED)) + b"\0\x01\0\0\0\x17"),
        bind(name, portal), message(b"B", values + b"\0\0"), run(portal), some,
        describe("S", name), describe("P", portal), FLUSH,
        message(b"C", cstrings("S" + name)), message(b"C", cstrings("P" + portal)),
    ])  # fmt: skip


def differs(turns: Sequence[bytes], ends: tuple[End, End]) -> str | None:
    """The first turn that both ends answer differently, with both answers."""
    for end in ends:
        end.say(messages.query("ROLLBACK"))
        end.say(messages.query("DEALLOCATE ALL"))
        end.say(messages.query("RESET ALL"))
        end.say(messages.query("DELETE FROM f"))
    state = ""
    for number, turn in enumerate(turns):
        mine, theirs = (end.say(turn) for end in ends)
        # Which of its errors an aborted block has for a name is not compared: PostgreSQL
        # keeps the portal of a Query that has failed.
        aborted = state == mine[-1] == theirs[-1] == "Z E" and turn[:1] != b"Q"
        state = mine[-1]
        if mine != theirs and not aborted:
            shown = "\n".join(
                f"  {n}: {t!r}" for n, t in enumerate(turns[: number + 1])
            )
            return f"{shown}\n  sandbox    {mine}\n  PostgreSQL {theirs}"
    return None
