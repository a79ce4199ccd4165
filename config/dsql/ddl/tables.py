"""Tables."""

import re
from collections import Counter
from typing import Any

from django.db import DatabaseError, ProgrammingError
from django.db.backends.ddl_references import Statement

from config.dsql.conflicts import sqlstates
from config.dsql.ddl.statements import (
    DUPLICATE_TABLE,
    UNDEFINED_TABLE,
    Statements,
    step,
)

PROBE = "dsql_wanted"  # a table for a moment, see Tables._as_made
NAMED_UNIQUE = re.compile(r'CONSTRAINT "(?:[^"]|"")+" UNIQUE\b')


class CreateTable(str):
    """A CREATE TABLE statement that knows its model."""

    model: Any


class Tables(Statements):
    def table_sql(self, model):
        """CREATE TABLE with every constraint that can stand in it.

        1. Let Django write the table; it defers foreign keys and unique_together.
        2. Take back what it deferred, except foreign keys to tables that do not exist
           yet: those are added at the end, when all tables of this editor do.
        """
        deferred, self.deferred_sql = self.deferred_sql, []
        try:
            sql, params = super().table_sql(model)
            constraints = self.deferred_sql
        finally:
            self.deferred_sql = deferred
        if params:
            sql, params = self.connection.ops.compose_sql(sql, params), None
        self._made.add(model._meta.db_table)
        for statement in constraints:
            inline = self._inline(model, statement)
            if inline is None:
                self.deferred_sql.append(statement)
            else:
                sql = f"{sql[:-1]}, {inline})"
        statement = CreateTable(sql)
        statement.model = model
        return statement, params

    def _inline(self, model, statement):
        """The statement's constraint as a part of CREATE TABLE, or None."""
        parts = getattr(statement, "parts", {})
        template = getattr(statement, "template", None)
        head = f"CONSTRAINT {parts.get('name')} "
        key = [self.quote_name(field.column) for field in model._meta.pk_fields]
        if template == self.sql_create_unique:
            if str(parts["columns"]) == ", ".join(key):
                return None  # PostgreSQL would merge it with the primary key
            return head + "UNIQUE{nulls_distinct} ({columns}){deferrable}".format(
                **parts
            )
        if template == self.sql_create_check:
            return head + "CHECK ({check})".format(**parts)
        if template == self.sql_create_fk and self._exists(parts["to_table"].table):
            return head + (
                "FOREIGN KEY ({column}) REFERENCES {to_table} ({to_column})"
                "{deferrable}".format(**parts)
            )
        return None

    def _exists(self, table):
        return table in self._made or self.catalog.has_table(table)

    def _create_table(self, sql, params):
        text = self.connection.ops.compose_sql(sql, params) if params else str(sql)

        def same():
            self._refuse_different(sql.model, text)
            return True

        self._unless_done(text, {DUPLICATE_TABLE}, same)

    def _as_made(self, look, *statements):
        """What ``look()`` sees in the catalog of what the statements make of PROBE.

        PostgreSQL prints a definition otherwise than it was written: only what it makes
        of the wanted one can be compared with what exists.
        """
        drop = f"DROP TABLE IF EXISTS {PROBE}"
        self._run(drop)  # an interrupted run may have left it
        try:
            for text in statements:
                self._run(text)
            return look()
        finally:
            self._run(drop)

    def _without_rows(self, table):
        """CREATE TABLE for PROBE with the columns of a table."""
        columns = self.catalog.columns(table).values()
        return "CREATE TABLE {} ({})".format(
            PROBE, ", ".join(f"{self.quote_name(c.name)} {c.shown}" for c in columns)
        )

    def _refuse_different(self, model, text):
        """Raise ProgrammingError unless the table has what CREATE TABLE would make."""
        table = model._meta.db_table
        # Names of UNIQUE constraints are taken, by the table that exists.
        text = NAMED_UNIQUE.sub("UNIQUE", text)
        columns, defaults, definitions = self._as_made(
            lambda: self._seen(PROBE), text.replace(self.quote_name(table), PROBE, 1)
        )
        found, found_defaults, found_definitions = self._seen(table)
        differences = [
            difference
            for name, column in columns.items()
            for difference in self._differences(name, found.get(name), column)
        ]
        differences += [
            f"{name} has the default {found_defaults.get(name)}, not {defaults.get(name)}"
            for name in columns
            if name in found and found_defaults.get(name) != defaults.get(name)
        ]
        missing = Counter(definitions) - Counter(found_definitions)
        differences += [f"it has no {definition}" for definition in missing]
        key = [self._column(field) for field in model._meta.pk_fields]
        if self.catalog.primary_key(table) != key:
            differences.append(f"its primary key is not ({', '.join(key)})")
        if differences:
            raise ProgrammingError(
                f"Table {table} exists already and differs: {'; '.join(differences)}. Drop "
                f"or rename it, or record the migration with --fake if it is what you want."
            )

    def _seen(self, table):
        catalog = self.catalog
        return (
            catalog.columns(table),
            catalog.defaults(table),
            catalog.definitions(table),
        )

    @staticmethod
    def _differences(name, found, wanted):
        if found is None:
            yield f"it has no column {name}"
            return
        if found.type != wanted.type:
            yield f"{name} is {found.shown}, not {wanted.shown}"
        if found.not_null != wanted.not_null:
            yield f"{name} is{' NOT' * wanted.not_null} NULL in the migration only"
        if found.identity != wanted.identity:
            yield f"{name} is{' no' * (not found.identity)} identity column"
        if found.generated != wanted.generated:
            yield f"{name} is{' no' * (not found.generated)} generated column"

    @step
    def delete_model(self, model):
        table = model._meta.db_table
        self._made.discard(table)
        try:
            super().delete_model(model)
        except DatabaseError as error:
            if UNDEFINED_TABLE not in sqlstates(error) or self._exists(table):
                raise
            self._forget(table)

    def _forget(self, table):
        self.deferred_sql = [
            sql
            for sql in self.deferred_sql
            if not (isinstance(sql, Statement) and sql.references_table(table))
        ]

    @step
    def alter_db_table(self, model, old_db_table, new_db_table):
        try:
            super().alter_db_table(model, old_db_table, new_db_table)
        except DatabaseError as error:
            gone = UNDEFINED_TABLE in sqlstates(error)
            if not gone or not self.catalog.has_table(new_db_table):
                raise
        self._made.add(new_db_table)
