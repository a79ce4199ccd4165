"""Tables."""

from typing import Any

from django.db import DatabaseError, ProgrammingError
from django.db.backends.ddl_references import Statement
from django.db.models import CompositePrimaryKey

from config.dsql.conflicts import sqlstates
from config.dsql.ddl.statements import (
    DUPLICATE_TABLE,
    UNDEFINED_TABLE,
    Statements,
    step,
)


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
            self._refuse_different(sql.model)
            return True

        self._unless_done(text, {DUPLICATE_TABLE}, same)

    def _refuse_different(self, model):
        """Raise ProgrammingError unless the table has what CREATE TABLE would make."""
        table = model._meta.db_table
        found = self.catalog.columns(table)
        wanted = [
            (self._column(field), field.null, self._type(field))
            for field in model._meta.local_concrete_fields
            if not isinstance(field, CompositePrimaryKey)
        ]
        types = self.catalog.types(db_type for _, _, db_type in wanted)
        differences = []
        for (name, null, db_type), kind in zip(wanted, types, strict=True):
            column = found.get(name)
            if column is None:
                differences.append(f"it has no column {name}")
            elif column.type != kind:
                differences.append(f"{name} is {column.shown}, not {db_type}")
            elif column.not_null == null:
                differences.append(
                    f"{name} is{' NOT' * (not null)} NULL in the migration only"
                )
        key = [self._column(field) for field in model._meta.pk_fields]
        if self.catalog.primary_key(table) != key:
            differences.append(f"its primary key is not ({', '.join(key)})")
        if differences:
            raise ProgrammingError(
                f"Table {table} exists already and differs: {'; '.join(differences)}. Drop "
                f"or rename it, or record the migration with --fake if it is what you want."
            )

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
