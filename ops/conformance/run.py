"""Runs cases on a cluster, in a schema of its own: resumable, and cleaned up.

Each case finds the fixtures and nothing else of others. What a case made is dropped after
it. A conflict with a change of the catalog (OC001) that no case expects is repeated, as
clients do: on a cluster it may come from jobs that an earlier case has started.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

from ops.conformance.corpus import FIRST, Case, Corpus, Step
from ops.conformance.sessions import Address, Seen, Session, log_in

OC001 = "(OC001)"
ATTEMPTS = 6
JOB_SECONDS, JOB_PAUSE, MAX_JOB_PAUSE = 280.0, 0.01, 1.0
ROW_OF_JOB = "job_id"
MADE = """
SELECT CASE relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' ELSE 'SEQUENCE' END,
  quote_ident(relname) FROM pg_class
WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('r', 'v', 'S')
UNION ALL
SELECT CASE prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, oid::regprocedure::text
FROM pg_proc
WHERE pronamespace = '{schema}'::regnamespace
UNION ALL
SELECT 'DOMAIN', quote_ident(typname) FROM pg_type
WHERE typnamespace = '{schema}'::regnamespace AND typtype = 'd'
ORDER BY 1 DESC
"""
CREATES = re.compile(r"\s*(CREATE|ALTER|DROP)\b", re.IGNORECASE)


class RunError(Exception):
    """The run cannot go on; the text says what failed."""


class Progress(Protocol):
    """Where a run keeps what it has seen, so that another one goes on from there."""

    schema: str

    def is_done(self, case: Case, protocol: str) -> bool: ...

    def add(self, case: Case, protocol: str, seen: Sequence[Seen]) -> None: ...


def new_schema() -> str:
    return f"conform_{secrets.token_hex(4)}"


class Runner:
    """Runs cases one after the other. ``close`` removes the schema."""

    def __init__(
        self, address: Address, corpus: Corpus, progress: Progress, account: str
    ) -> None:
        self._address, self._corpus, self._progress = address, corpus, progress
        self._names = {
            "schema": progress.schema,
            "role": f"{progress.schema}_role",
            "account": account,
        }
        self._session: Session | None = None
        self._fixtures: frozenset[tuple[str, str]] = frozenset()

    @contextmanager
    def prepared(self) -> Iterator["Runner"]:
        """The schema with its fixtures; it is dropped at the end. Raises RunError."""
        admin = Session(self._address.connect(), "simple")
        try:
            self._drop_schema(admin)
            self._must(admin, "CREATE SCHEMA {schema}")
            self._must(admin, "SET search_path = {schema}")
            for sql in self._corpus.fixtures:
                self._must(admin, sql)
            self._fixtures = frozenset(self._list_made(admin))
            yield self
        finally:
            if self._session is not None:
                self._session.close()
            if admin.is_lost:
                admin = Session(self._address.connect(), "simple")
            admin.query("ROLLBACK")
            self._drop_schema(admin)
            admin.close()

    def run(
        self,
        cases: Sequence[Case],
        protocols: Sequence[str],
        say: Callable[[str], None],
    ) -> None:
        """Raises RunError, SilentError or psycopg.OperationalError."""
        jobs = [(case, p) for p in protocols for case in cases if p in case.protocols]
        for number, (case, protocol) in enumerate(jobs, 1):
            if not self._progress.is_done(case, protocol):
                say(f"{number}/{len(jobs)} {protocol} {case.file}: {case.name}")
                self._progress.add(case, protocol, self._run_case(case, protocol))

    def _run_case(self, case: Case, protocol: str) -> list[Seen]:
        for _ in range(ATTEMPTS):
            with ExitStack() as stack:
                first = self._first(case, protocol, stack)
                stack.callback(self._clean_up, case)
                for sql in case.setup:
                    self._must(self._admin(), sql)
                seen, repeat = self._run_steps(case, protocol, first, stack)
            if not repeat:
                break
        return seen

    def _run_steps(
        self, case: Case, protocol: str, first: Session, stack: ExitStack
    ) -> tuple[list[Seen], bool]:
        """What was seen, and whether a transaction met a change of the catalog by chance."""
        sessions, seen = {FIRST: first}, list[Seen]()
        names = dict(self._names)
        for step in case.steps:
            if step.login is not None:
                seen.append(log_in(self._address, step.login))
                continue
            if step.session not in sessions:
                sessions[step.session] = self._open(protocol, stack)
            found = self._run_step(sessions[step.session], step, names)
            seen.append(found)
            if _is_stale(found) and not _expects_stale(case):
                return seen, True
            if ROW_OF_JOB in found.columns[:1] and found.rows:
                names["job"] = found.rows[0][0] or ""
                if step.job:
                    self._await_job(names["job"])
        return seen, False

    def _run_step(self, session: Session, step: Step, names: Mapping[str, str]) -> Seen:
        sql = fill(step.sql, names)
        for attempt in range(ATTEMPTS):
            alone = not session.in_transaction
            found = session.run(sql, step.copy)
            if not (alone and _is_stale(found)) or OC001 in (step.message or ""):
                break
            time.sleep(0.05 * attempt)
        return _anonymous(found, names)

    def version(self) -> str:
        """What the cluster says it is."""
        found = self._admin().query("SHOW server_version")
        return (found.rows[0][0] or "") if found.rows else ""

    # Sessions

    def _first(self, case: Case, protocol: str, stack: ExitStack) -> Session:
        """The shared connection, or one for this case alone."""
        if case.fresh:
            return self._open(protocol, stack)
        shared = self._admin()
        return Session(shared.connection, protocol)

    def _admin(self) -> Session:
        if self._session is None or self._session.is_lost:
            self._session = self._connect("simple")
        return self._session

    def _open(self, protocol: str, stack: ExitStack) -> Session:
        session = self._connect(protocol)
        stack.callback(session.close)
        return session

    def _connect(self, protocol: str) -> Session:
        session = Session(self._address.connect(), protocol)
        self._must(session, "SET search_path = {schema}")
        return session

    def _must(self, session: Session, sql: str) -> Seen:
        """Run a statement that is no step. Raises RunError."""
        text = fill(sql, self._names)
        for attempt in range(ATTEMPTS):
            found = session.query(text)
            if not _is_stale(found):
                break
            time.sleep(0.05 * attempt)
        if found.sqlstate:
            raise RunError(f"{found.sqlstate} {found.message}: {text}")
        if ROW_OF_JOB in found.columns[:1] and found.rows:
            self._await_job(found.rows[0][0] or "")
        return found

    def _await_job(self, job: str) -> None:
        """Poll: CALL sys.wait_for_job would hold a transaction open."""
        deadline, pause = time.monotonic() + JOB_SECONDS, JOB_PAUSE
        status = f"SELECT status FROM sys.jobs WHERE job_id = '{job}'"  # noqa: S608 - the cluster's own id
        while time.monotonic() < deadline:
            found = self._admin().query(status)
            if found.rows and found.rows[0][0] not in ("submitted", "processing"):
                return
            time.sleep(pause)
            pause = min(2 * pause, MAX_JOB_PAUSE)
        raise RunError(f"the job {job} did not end within {JOB_SECONDS:.0f} s")

    # Cleaning up

    def _clean_up(self, case: Case) -> None:
        admin = self._admin()
        if admin.in_transaction:
            admin.query("ROLLBACK")
        for sql in case.cleanup:
            self._drop(admin, fill(sql, self._names))
        if any(CREATES.match(sql) for sql in [*case.setup, *_texts(case)]):
            made: dict[str, list[str]] = {}
            for kind, name in self._list_made(admin):
                if (kind, name) not in self._fixtures:
                    made.setdefault(kind, []).append(name)
            for kind, names in made.items():
                self._drop(admin, f"DROP {kind} IF EXISTS {', '.join(names)} CASCADE")

    def _list_made(self, admin: Session) -> list[tuple[str, str]]:
        found = self._must(admin, MADE)
        return [(kind or "", name or "") for kind, name in found.rows]

    def _drop_schema(self, admin: Session) -> None:
        self._drop(admin, fill("DROP SCHEMA IF EXISTS {schema} CASCADE", self._names))
        self._drop(admin, fill("DROP ROLE IF EXISTS {role}", self._names))

    @staticmethod
    def _drop(admin: Session, sql: str) -> None:
        for _ in range(ATTEMPTS):
            if not _is_stale(admin.query(sql)):
                return


def fill(sql: str, names: Mapping[str, str]) -> str:
    """The statement with this run's own names in place of ``{schema}`` and the like."""
    for name, value in names.items():
        sql = sql.replace(f"{{{name}}}", value)
    return sql


def _anonymous(seen: Seen, names: Mapping[str, str]) -> Seen:
    """What was seen, with ``{schema}`` and the like in place of this run's own names."""
    message = seen.message
    for name in ("role", "schema"):
        message = message.replace(names[name], f"{{{name}}}")
    return Seen(seen.sqlstate, message, seen.tag, seen.rows, seen.columns)


def _texts(case: Case) -> list[str]:
    return [step.sql for step in case.steps]


def _is_stale(seen: Seen) -> bool:
    return seen.sqlstate == "40001" and OC001 in seen.message


def _expects_stale(case: Case) -> bool:
    return any(OC001 in (step.message or "") for step in case.steps)
