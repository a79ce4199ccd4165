"""Tables: created, removed, renamed."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db import DatabaseError, ProgrammingError
from django.db.backends.ddl_references import Statement

from ..conflicts import sqlstates
from . import sql
from .catalog import Catalog, Column
from .probe import PROBE, Probe
from .runner import Runner


class CreateTable(str):
    """A CREATE TABLE statement that knows its model."""

    model: Any


class Tables:
    def __init__(
        self, writer: sql.Writer, runner: Runner, catalog: Catalog, probe: Probe
    ) -> None:
        self.writer, self.runner = writer, runner
        self.catalog, self.probe = catalog, probe
        # Tables of this editor, which the catalog may not show yet.
        self._created: set[str] = set()

    def exists(self, table: str) -> bool:
        return table in self._created or self.catalog.has_table(table)

    def complete(self, model: Any, text: str, constraints: list[Any]) -> CreateTable:
        """CREATE TABLE with every constraint that can stand in it.

        ``constraints`` are the statements that Django has deferred. Those to tables that
        do not exist yet are deferred again: at the end all tables of this editor do.
        """
        self._created.add(model._meta.db_table)
        for statement in constraints:
            inline = self._inline(model, statement)
            if inline is None:
                self.writer.deferred_sql.append(statement)
            else:
                text = f"{text[:-1]}, {inline})"
        created = CreateTable(text)
        created.model = model
        return created

    def _inline(self, model: Any, statement: Any) -> str | None:
        """The statement's constraint as a part of CREATE TABLE, or None."""
        template = getattr(statement, "template", "")
        if template not in (sql.ADD_UNIQUE, sql.ADD_CHECK, sql.ADD_FOREIGN_KEY):
            return None
        parts = statement.parts
        key = [self.writer.quote_name(field.column) for field in model._meta.pk_fields]
        if template == sql.ADD_UNIQUE and str(parts["columns"]) == ", ".join(key):
            return None  # PostgreSQL would merge it with the primary key
        if template == sql.ADD_FOREIGN_KEY and not self.exists(parts["to_table"].table):
            return None
        constraint = template.partition(" ADD ")[2].removesuffix(" NOT VALID")
        return str(constraint % parts)

    def create(self, statement: CreateTable) -> None:
        """Run CREATE TABLE, unless the same table exists already."""
        text = str(statement)

        def is_done() -> bool:
            self._require_same(statement.model, text)
            return True

        self.runner.execute_unless_done(text, {sql.DUPLICATE_TABLE}, is_done)

    def remove(self, table: str, delete: Callable[[], None]) -> None:
        """Call ``delete``, which may find that an earlier run has dropped the table."""
        self._created.discard(table)
        try:
            delete()
        except DatabaseError as error:
            if sql.UNDEFINED_TABLE not in sqlstates(error) or self.exists(table):
                raise
            self.writer.deferred_sql = [
                statement
                for statement in self.writer.deferred_sql
                if not (
                    isinstance(statement, Statement)
                    and statement.references_table(table)
                )
            ]

    def rename(self, new_name: str, rename: Callable[[], None]) -> None:
        """Call ``rename``, which may find that an earlier run has renamed the table."""
        try:
            rename()
        except DatabaseError as error:
            is_missing = sql.UNDEFINED_TABLE in sqlstates(error)
            if not is_missing or not self.catalog.has_table(new_name):
                raise
        self._created.add(new_name)

    def _require_same(self, model: Any, text: str) -> None:
        """Raise ProgrammingError unless the table has what CREATE TABLE would make."""
        table = model._meta.db_table
        # Names of UNIQUE constraints are taken, by the table that exists.
        text = sql.NAMED_UNIQUE.sub("UNIQUE", text)
        desired = self.probe.read(
            lambda: self._read(PROBE),
            text.replace(self.writer.quote_name(table), PROBE, 1),
        )
        differences = [*_differences(self._read(table), desired)]
        key = [sql.unquote(field.column) for field in model._meta.pk_fields]
        if self.catalog.primary_key(table) != key:
            differences.append(f"its primary key is not ({', '.join(key)})")
        if differences:
            raise ProgrammingError(
                f"Table {table} already exists and differs: {'; '.join(differences)}. Drop "
                f"or rename it, or record the migration with --fake if it is as intended."
            )

    def _read(self, table: str) -> "Definition":
        catalog = self.catalog
        return (
            catalog.columns(table),
            catalog.defaults(table),
            catalog.definitions(table),
        )


# Columns, defaults, constraints.
Definition = tuple[dict[str, Column], dict[str, str], Sequence[str]]


def _differences(existing: Definition, desired: Definition) -> Iterator[str]:
    columns, defaults, definitions = existing
    for name, column in desired[0].items():
        yield from _column_differences(name, columns.get(name), column)
    for name in desired[0]:
        default = desired[1].get(name)
        if name in columns and defaults.get(name) != default:
            yield f"{name} has the default {defaults.get(name)}, not {default}"
    for definition in Counter(desired[2]) - Counter(definitions):
        yield f"it has no {definition}"


def _column_differences(
    name: str, existing: Column | None, desired: Column
) -> Iterator[str]:
    if existing is None:
        yield f"it has no column {name}"
        return
    if existing.type != desired.type:
        yield f"{name} is {existing.shown}, not {desired.shown}"
    if existing.not_null != desired.not_null:
        yield f"{name} is{' NOT' * desired.not_null} NULL in the migration only"
    if existing.identity != desired.identity:
        yield f"{name} is{' no' * (not existing.identity)} identity column"
    if existing.generated != desired.generated:
        yield f"{name} is{' no' * (not existing.generated)} generated column"
