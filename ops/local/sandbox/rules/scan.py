"""SQL text before it is parsed: splitting, and DSQL's own words taken out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

TOKEN = re.compile(
    r"""
      (?P<skip>\s+|--[^\n]*|/\*.*?\*/)
    | (?P<string>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*')
    | (?P<dollar>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<word>[A-Za-z_\u0080-\U0010ffff][\w$]*)
    | (?P<end>;)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
# A literal, or a quoted name that must not be mistaken for one.
LITERAL = re.compile(r"""("(?:[^"]|"")*")|'(?:[^']|'')*'|(?<![\w$])\d+(?:\.\d+)?""")
# With any of these a quote may open or close elsewhere than LITERAL thinks.
UNSAFE = re.compile(r"--|/\*|\\|\$[A-Za-z_$\u0080-\U0010ffff]")
AWS_IAM = re.compile(
    r"""^\s*AWS\s+IAM\s+(GRANT|REVOKE)\s+("(?:[^"]|"")+"|[\w$]+)\s+(TO|FROM)\s+"""
    r"""('(?:[^']|'')*')\s*;?\s*$""",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    start: int
    end: int


def tokens(sql: str) -> list[Token]:
    """Every token but white space and comments."""
    found = (Token(m.lastgroup or "", m[0], *m.span()) for m in TOKEN.finditer(sql))
    return [t for t in found if t.kind != "skip"]


def split(sql: str) -> list[str]:
    """The statements of a query string; empty ones are dropped."""
    return [sql[part[0].start : part[-1].end] for part in _parts(sql) if part]


def strip_async(sql: str) -> tuple[str, list[int]]:
    """Blank ASYNC after CREATE [UNIQUE] INDEX and ALTER TABLE; say where, in bytes.

    An index or table may be called async: then the word is followed by what follows a
    name, not by another name.
    """
    if "async" not in sql.lower():
        return sql, []
    places = [at for part in _parts(sql) for at in _async_in(part)]
    for token in places:
        sql = sql[: token.start] + " " * 5 + sql[token.end :]
    return sql, [len(sql[: token.start].encode()) for token in places]


def _async_in(found: list[Token]) -> list[Token]:
    words = [t.text.upper() if t.kind == "word" else t.text for t in found[:4]]
    at = _after(words, "CREATE", "INDEX") or _after(words, "CREATE", "UNIQUE", "INDEX")
    at = at or _after(words, "ALTER", "TABLE")
    if not at or len(found) <= at + 1 or words[at] != "ASYNC":
        return []
    if words[0] == "ALTER" and found[at + 1].text.upper() in ALTER_ACTIONS:
        return []
    return [found[at]]


def _parts(sql: str) -> Iterator[list[Token]]:
    """The tokens of each statement, without the semicolons."""
    part: list[Token] = []
    for token in tokens(sql):
        if token.kind != "end":
            part.append(token)
            continue
        yield part
        part = []
    yield part


def strip_unique(sql: str) -> str:
    """A CREATE INDEX without UNIQUE and NULLS [NOT] DISTINCT, which need no other index."""
    found = tokens(sql)
    words = [t.text.upper() if t.kind == "word" else t.text for t in found]
    out = {1} if words[1:2] == ["UNIQUE"] else set()
    for at, word in enumerate(words):
        if word == "NULLS" and "DISTINCT" in words[at + 1 : at + 3]:
            out |= set(range(at, words.index("DISTINCT", at) + 1))
    for at in sorted(out, reverse=True):
        sql = sql[: found[at].start] + sql[found[at].end :]
    return sql


def strip_wait_policy(sql: str) -> str:
    """A query whose locking clauses have no NOWAIT or SKIP LOCKED."""
    found = tokens(sql)
    words = [t.text.upper() if t.kind == "word" else "" for t in found]
    for at in range(len(found) - 1, 0, -1):
        if words[at] == "NOWAIT":
            sql = sql[: found[at].start] + sql[found[at].end :]
        elif words[at - 1 : at + 1] == ["SKIP", "LOCKED"]:
            sql = sql[: found[at - 1].start] + sql[found[at].end :]
    return sql


ALTER_ACTIONS = {"ADD", "ALTER", "DROP", "RENAME", "SET", "OWNER", "VALIDATE", "."}


def _after(words: list[str], *expected: str) -> int:
    return len(expected) if words[: len(expected)] == list(expected) else 0


def literal_free(sql: str) -> str | None:
    """The text with literals blanked, the same for statements alike but for values.

    None when the text has something that makes blanking unsafe.
    """
    if UNSAFE.search(sql):
        return None
    return LITERAL.sub(lambda m: m[1] or "?", sql)
