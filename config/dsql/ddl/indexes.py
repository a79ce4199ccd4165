"""Indexes: built in the background, and awaited."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, IntegrityError, ProgrammingError
from django.db.backends.ddl_references import Statement
from django.db.backends.utils import split_identifier

from ..blocks import outside_block
from ..conflicts import sqlstates
from . import sql
from .catalog import Catalog, Index
from .probe import PROBE, Probe
from .runner import Runner

logger = logging.getLogger(__name__)
KEY_ORDER = re.compile(r" NULLS (?:FIRST|LAST)\b")
WAIT = "wait for the job: CALL sys.wait_for_job('<job_id>')"


class Indexes:
    def __init__(self, runner: Runner, catalog: Catalog, probe: Probe) -> None:
        self.runner, self.catalog, self.probe = runner, catalog, probe
        # Builds under way, where plain indexes are built side by side.
        self._builds: list[tuple[str, Statement, str, str]] | None = None

    def add(self, statement: Statement) -> None:
        """An index of Django's; see ``side_by_side``."""
        parts: dict[str, Any] = statement.parts
        text, name = str(statement), sql.unquote(parts["name"])
        table = parts["table"].table
        if self._builds is None or statement.template != sql.CREATE_INDEX:
            self.build(text, name, table, statement)
        elif (job := self._start(text, name, table)) is not None:
            self._builds.append((job, statement, name, table))

    @contextmanager
    def side_by_side(self) -> Iterator[None]:
        """Inside, plain indexes are only started; all are awaited at the end."""
        self._builds = []
        yield
        builds, self._builds = self._builds, None
        if builds:
            with outside_block(self.runner.connection):
                for job, statement, name, table in builds:
                    self._await_build(job, statement, name, table)

    def build(
        self, text: str, name: str, table: str, statement: Statement | None = None
    ) -> None:
        """Build an index and wait for it; nothing to do when it exists and is valid.

        Raises IntegrityError when it could not be built.
        """
        job = self._start(text, name, table)
        if job is not None:
            self._await_build(job, statement or text, name, table)

    def _start(self, text: str, name: str, table: str) -> str | None:
        """The job that builds the index; None when there is nothing to wait for.

        1. Submit the statement.
        2. If the name is taken, by no index or by a different one: error.
        3. If it is a valid index, it is done.
        4. If a job still builds it, wait for that job.
        5. Otherwise an earlier build failed: drop what it left and start again.
        """
        if self.runner.is_collecting:
            self.runner.collect(text)
            self.runner.note(WAIT)
            return None
        self.runner.require_autocommit()
        try:
            return self.runner.submit(text)
        except DatabaseError as error:
            if sql.DUPLICATE_TABLE not in sqlstates(error):
                if isinstance(error, IntegrityError):
                    logger.warning("Duplicate keys prevent the index: %s", text)
                raise
            existing = self.catalog.index(table, name)
            if existing is None:
                raise
        job = None if existing.valid else self.catalog.active_job(existing)
        is_elsewhere = existing.table != self._relation(table)
        if existing.valid or job is not None or is_elsewhere:
            self.require_same(existing, table, text)
            return job
        self._drop_invalid(table, name)
        return self.runner.submit(text)

    def require_same(self, existing: Index, table: str, text: str) -> None:
        """Raise ProgrammingError unless the statement would build the index that exists."""
        is_unique = text.split()[1].upper() == "UNIQUE"
        body = sql.INDEX_HEAD.sub("", existing.definition)
        rest = sql.INDEX_STATEMENT.sub("", text, count=1).strip()
        if (existing.table, existing.unique) == (self._relation(table), is_unique) and (
            sql.is_same_text(body, rest) or body == self._printed(table, rest)
        ):
            return
        raise ProgrammingError(
            f"Index {existing.name} already exists with a different definition. "
            f"Found: {existing.definition}. Expected: {text}"
        )

    def _printed(self, table: str, rest: str) -> str | None:
        """How the catalog prints the keys and the predicate of a CREATE INDEX."""
        name = f"{PROBE}_index"
        index = self.probe.read(
            lambda: self.catalog.index(PROBE, name),
            self.probe.create_without_rows(table),
            f"CREATE INDEX ASYNC {name} ON {PROBE} {rest}",
        )
        return None if index is None else sql.INDEX_HEAD.sub("", index.definition)

    def _await_build(
        self, job: str, statement: Statement | str, name: str, table: str
    ) -> None:
        status, details = self.runner.await_job(job, str(statement))
        index = self.catalog.index(table, name)
        if index is not None and index.valid:
            return
        # DSQL keeps an invalid index; without it the migration can be run again.
        self._drop_invalid(table, name)
        raise IntegrityError(
            f"Index {name} could not be built ({details or status}) and was dropped."
            f"{self._duplicates(statement)} Correct the rows, then migrate again. "
            f"Statement: {statement}"
        )

    def _drop_invalid(self, table: str, name: str) -> None:
        quote = self.runner.connection.ops.quote_name
        schema, _ = split_identifier(quote(table))
        qualified = ".".join(quote(part) for part in (schema, name) if part)
        self.runner.execute(f"DROP INDEX IF EXISTS {qualified}")

    def _duplicates(self, statement: Statement | str) -> str:
        """Some of the keys that occur more than once, as a sentence."""
        if isinstance(statement, str) or "UNIQUE" not in statement.template:
            return ""
        parts: dict[str, Any] = statement.parts
        columns = KEY_ORDER.sub("", str(parts["columns"]))
        condition = parts.get("condition", "")
        duplicates = self.catalog.rows(
            f"SELECT {columns}, count(*) FROM {parts['table']}{condition} "
            f"GROUP BY {columns} HAVING count(*) > 1 LIMIT 3"
        )
        shown = "; ".join(f"{key} ({count} times)" for *key, count in duplicates)
        return f" Duplicates: {shown}." if shown else ""

    def _relation(self, table: str) -> str:
        return sql.relation_name(self.runner.connection.ops.quote_name(table))
