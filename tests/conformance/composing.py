"""What the commands sent, as cases of the corpus that any cluster can run.

One case for what a deployment sends in its life, two for Django's contrib apps. A query
stands there once, a statement that changes something as often as it came: what follows
needs it. Names and ids of the recording become those of the run.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ops.conformance.corpus import Case, Corpus, Step
from ops.conformance.progress import Progress
from ops.conformance.run import Runner
from ops.conformance.sessions import Address, Seen
from ops.local.sandbox import lifecycle
from ops.local.sandbox.clusters import ACCOUNT
from ops.local.sandbox.rules.shapes import shape, shapes

LIVES = {
    "statements of a deployment": (
        "dsql_database", "dsql_database --remap", "dsql_verify", "serving",
        "delete_expired_responses", "migrate backwards",
    ),
    "statements of contrib apps": ("contrib",),
    "statements of migrations met half done": ("contrib, continued",),
}  # fmt: skip
SOURCE = "tests/conformance/statements.json, by each statement's parts"
TRANSACTION = re.compile(r"\s*(BEGIN|COMMIT|ROLLBACK|START)\b", re.IGNORECASE)
SCHEMA = re.compile(r"\s*(CREATE|DROP) SCHEMA\b", re.IGNORECASE)
ASYNC = re.compile(r"\s*(CREATE (UNIQUE )?INDEX|ALTER TABLE) ASYNC\b", re.IGNORECASE)
REPLACED = (
    (re.compile(r"'[a-z2-7]{26}'"), "'{job}'"),
    (re.compile(r'"app"'), '"{role}"'),
    (re.compile(r"'app'"), "'{role}'"),
    (re.compile(r"\b123456789012\b"), "{account}"),
)
# What others need may come as often as it did; anything else a few times.
NEEDED = re.compile(
    r"\s*(CREATE TABLE|DROP TABLE|DROP INDEX|ALTER TABLE \S+ (ADD COLUMN|RENAME|DROP)|INSERT INTO \"dj)"
)
MOST = 2
CLEANUP = ['DROP OWNED BY "{role}"', 'DROP ROLE IF EXISTS "{role}"']


def compose(
    statements: Mapping[str, Sequence[str]], labels: Mapping[str, str], date: str
) -> list[dict[str, Any]]:
    """The cases as a file of the corpus has them."""
    return [
        {
            "name": name,
            "evidence": "reported",
            "source": SOURCE,
            "date": date,
            "protocols": ["simple"],  # by which the commands sent them
            "cleanup": CLEANUP,
            "steps": list(_steps(commands, statements, labels)),
        }
        for name, commands in LIVES.items()
    ]


def _steps(
    commands: Sequence[str],
    statements: Mapping[str, Sequence[str]],
    labels: Mapping[str, str],
) -> Iterator[dict[str, Any]]:
    often: Counter[str] = Counter()
    for sql in (sql for command in commands for sql in statements[command]):
        if TRANSACTION.match(sql) or SCHEMA.match(sql) or "$1" in sql:
            continue
        kind = shape(sql)
        often[kind] += 1
        if often[kind] > MOST and not NEEDED.match(sql):
            continue
        for pattern, name in REPLACED:
            sql = pattern.sub(name, sql)
        step: dict[str, Any] = {"sql": sql}
        if ASYNC.match(sql):
            step["job"] = True
        if (label := labels.get(kind, "reported")) != "reported":
            step["evidence"] = label
        yield step


def keep_what_runs(
    cases: Sequence[dict[str, Any]], directory: Path
) -> list[dict[str, Any]]:
    """The cases without the steps that fail on a new sandbox: what they need was left out."""
    data = _as_corpus(cases)
    try:
        status = lifecycle.up(directory, durable=False, job_delay=0.01)
        os.environ.update(status.environ())
        region = status.regions[0]
        progress = Progress(directory / "seen.json", region.endpoint, data.digest)
        address = Address(region.endpoint, region.region)
        with Runner(address, data, progress, ACCOUNT).prepared() as runner:
            runner.run(data.cases, ["simple"], lambda _: None)
    finally:
        lifecycle.reset(directory)
    return [_keep(case, progress.seen[case["name"]]["simple"]) for case in cases]


def _keep(case: dict[str, Any], seen: Sequence[Seen]) -> dict[str, Any]:
    pairs = zip(case["steps"], seen, strict=True)
    return {**case, "steps": [step for step, found in pairs if not found.sqlstate]}


def covered(cases: Sequence[Case]) -> set[str]:
    """The shapes of all statements in the corpus."""
    return {
        found for case in cases for step in case.steps for found in shapes(step.sql)
    }


def _as_corpus(cases: Sequence[dict[str, Any]]) -> Corpus:
    """A corpus of these alone, to be run once."""
    built = [
        Case(
            file="statements",
            steps=tuple(Step(s["sql"], job=s.get("job", False)) for s in case["steps"]),
            cleanup=tuple(case["cleanup"]),
            **{key: case[key] for key in ("name", "evidence", "source", "date")},
        )
        for case in cases
    ]
    return Corpus((), tuple(built), "composed", {})
