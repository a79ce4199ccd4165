"""The corpus: SQL sessions with the outcome that Aurora DSQL is expected to have.

Each file of ``corpus/`` is a list of cases, each case a list of steps, one a line. What
was seen on a cluster is ``recorded``, what AWS states is ``documented``, what others saw
is ``reported``; ``assumed`` is our best guess.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).parent / "corpus"
FIXTURES = "fixtures.json"  # what every case finds in the schema
EVIDENCE = ("recorded", "documented", "reported", "assumed")
PROTOCOLS = ("simple", "extended")
FIRST, SECOND = "a", "b"  # the names of a case's sessions
STEP_KEYS = {
    "sql", "session", "sqlstate", "message", "tag", "rows", "copy", "login", "job", "evidence",
}  # fmt: skip
CASE_KEYS = {
    "name", "evidence", "source", "date", "question", "protocols", "fresh", "setup", "steps",
    "cleanup",
}  # fmt: skip


class CorpusError(Exception):
    """A file of the corpus is wrong; the text names the file, the case and the mistake."""


@dataclass(frozen=True, slots=True)
class Step:
    """One Query, Parse … Sync or login, and its outcome; None is not compared."""

    sql: str = ""
    session: str = FIRST
    sqlstate: str = ""  # empty for success
    message: str | None = None
    tag: str | None = None  # command tags, joined by "; " for several statements
    rows: tuple[tuple[str | None, ...], ...] | None = None
    copy: tuple[str, ...] = ()  # the lines that a COPY FROM STDIN gets
    # libpq's parameters of a login of its own, which is all that the step does.
    login: Mapping[str, str] | None = None
    job: bool = False  # wait until the job that it starts has ended
    evidence: str = ""  # where it is not that of the case


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    file: str
    evidence: str
    source: str
    date: str
    steps: tuple[Step, ...]
    question: str = ""  # what is not known: asked by ``--only assumptions``
    protocols: tuple[str, ...] = PROTOCOLS
    fresh: bool = False  # needs connections of its own: it changes settings
    setup: tuple[str, ...] = ()
    cleanup: tuple[str, ...] = ()

    @property
    def is_assumption(self) -> bool:
        return bool(self.question) or self.evidence == "assumed"


@dataclass(frozen=True, slots=True)
class Corpus:
    fixtures: tuple[str, ...]
    cases: tuple[Case, ...]
    digest: str  # of the files: another one is another corpus
    raw: Mapping[str, list[dict[str, Any]]] = field(repr=False)

    def select(self, *, only: str, names: Sequence[str] = ()) -> tuple[Case, ...]:
        chosen = self.cases
        if only == "assumptions":
            chosen = tuple(case for case in chosen if case.is_assumption)
        if names:
            chosen = tuple(c for c in chosen if c.file in names or c.name in names)
        return chosen


def load(directory: Path = DIRECTORY) -> Corpus:
    """Raises CorpusError."""
    texts = {path.name: path.read_text() for path in sorted(directory.glob("*.json"))}
    digest = hashlib.sha256("".join(texts.values()).encode()).hexdigest()[:16]
    try:
        content = {name: json.loads(text) for name, text in texts.items()}
    except ValueError as error:
        raise CorpusError(f"{directory}: {error}") from error
    fixtures = tuple(content.pop(FIXTURES, ()))
    cases = [_parse_case(name, c) for name, found in content.items() for c in found]
    names = [case.name for case in cases]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise CorpusError(f"{directory}: two cases have the name {twice[0]!r}")
    return Corpus(fixtures, tuple(cases), digest, content)


def _parse_case(file: str, fields: Mapping[str, Any]) -> Case:
    where = f"{file}: {fields.get('name', 'a case without a name')}"
    if unknown := sorted(fields.keys() - CASE_KEYS):
        raise CorpusError(f"{where}: unknown field {unknown[0]!r}")
    missing = {"name", "evidence", "source", "date", "steps"} - fields.keys()
    if missing:
        raise CorpusError(f"{where}: no {sorted(missing)[0]}")
    if fields["evidence"] not in EVIDENCE:
        raise CorpusError(
            f"{where}: evidence {fields['evidence']!r} is none of {', '.join(EVIDENCE)}"
        )
    try:
        date.fromisoformat(fields["date"])
    except ValueError as error:
        raise CorpusError(f"{where}: {error}") from error
    protocols = tuple(fields.get("protocols", PROTOCOLS))
    if not protocols or not set(protocols) <= set(PROTOCOLS):
        raise CorpusError(f"{where}: protocols are {', '.join(PROTOCOLS)}")
    return Case(
        file=file.removesuffix(".json"),
        steps=tuple(_parse_step(where, step) for step in fields["steps"]),
        protocols=protocols,
        setup=tuple(fields.get("setup", ())),
        cleanup=tuple(fields.get("cleanup", ())),
        fresh=bool(fields.get("fresh", False)),
        question=fields.get("question", ""),
        **{key: fields[key] for key in ("name", "evidence", "source", "date")},
    )


def _parse_step(where: str, fields: Mapping[str, Any]) -> Step:
    if unknown := sorted(fields.keys() - STEP_KEYS):
        raise CorpusError(f"{where}: unknown field {unknown[0]!r} of a step")
    if ("sql" in fields) == ("login" in fields):
        raise CorpusError(f"{where}: a step has either sql or login")
    if fields.get("session", FIRST) not in (FIRST, SECOND):
        raise CorpusError(f"{where}: sessions are {FIRST!r} and {SECOND!r}")
    if fields.get("evidence", EVIDENCE[0]) not in EVIDENCE:
        raise CorpusError(f"{where}: a step's evidence is one of {', '.join(EVIDENCE)}")
    rows = fields.get("rows")
    return Step(
        rows=None if rows is None else tuple(map(tuple, rows)),
        copy=tuple(fields.get("copy", ())),
        **{k: v for k, v in fields.items() if k not in ("rows", "copy")},
    )


def render(cases: Iterable[Mapping[str, Any]]) -> str:
    """The text of a file: a case's own fields on one line, then each step on one."""
    return "[\n" + ",\n".join("".join(_render_case(case)) for case in cases) + "\n]\n"


def _render_case(case: Mapping[str, Any]) -> Iterator[str]:
    head = {key: value for key, value in case.items() if key != "steps"}
    yield " " + json.dumps(head, ensure_ascii=False)[:-1] + ', "steps": [\n'
    yield ",\n".join(
        "  " + json.dumps(step, ensure_ascii=False) for step in case["steps"]
    )
    yield "\n ]}"
