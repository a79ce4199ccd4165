"""SQL that differs from PostgreSQL's outside the schema."""

from typing import Any

from django.db import IntegrityError, OperationalError
from django.db.backends.base.operations import BaseDatabaseOperations
from django.db.backends.postgresql import operations
from django.db.models import AutoField, ForeignKey

from .conflicts import sqlstates

FOREIGN_KEY_VIOLATION = "23503"
# What Django makes a column that refers to an AutoField or a SmallAutoField.
KEY_TYPES = {"integer", "smallint"}


class DatabaseOperations(operations.DatabaseOperations):
    connection: Any
    compiler_module = f"{__package__}.compiler"
    # One statement at a time: DSQL takes one DDL statement per transaction.
    prepare_sql_script = BaseDatabaseOperations.prepare_sql_script
    # Identity columns are bigint whatever the field's class.
    integer_field_ranges = {
        **operations.DatabaseOperations.integer_field_ranges,
        "AutoField": (-9223372036854775808, 9223372036854775807),
        "SmallAutoField": (-9223372036854775808, 9223372036854775807),
    }

    cast_data_types = dict.fromkeys(
        ("AutoField", "BigAutoField", "SmallAutoField"), "bigint"
    )

    def storage_type(self, field: Any) -> str | None:
        """The type of the field's column; None if it has no column.

        Django gives a foreign key to an AutoField the type integer, but identity columns
        are bigint, and DSQL requires both sides of a foreign key to have the same type.
        """
        own: str | None = field.db_type(self.connection)
        # Nothing else is read: what has no column need not have a target.
        if own not in KEY_TYPES:
            return own
        target = field
        while isinstance(target, ForeignKey):
            target = target.target_field
        is_identity = target.get_internal_type() in self.cast_data_types
        return "bigint" if is_identity else own

    def set_time_zone_sql(self) -> str:
        return "SET TIME ZONE %s"

    def bulk_batch_size(self, fields: Any, objs: Any) -> int:
        """Rows per INSERT: all of them, unless transactions are being split."""
        splitter = self.connection.splitter
        return len(objs) if splitter is None else min(len(objs), splitter.rows)

    # Addresses are stored as text: DSQL cannot store inet.

    def adapt_ipaddressfield_value(self, value: Any) -> Any:
        return value or None

    def lookup_cast(self, lookup_type: str, internal_type: str | None = None) -> str:
        if internal_type in ("IPAddressField", "GenericIPAddressField"):
            internal_type = "CharField"
        return super().lookup_cast(lookup_type, internal_type)

    # Sequences

    def sequence_reset_sql(self, style: Any, model_list: Any) -> list[str]:
        """Move sequences forwards only: each session holds a block of keys below the value.

        A sequence that is set back would issue the same block again. Its value is read with
        nextval(), which uses up a block: DSQL has no view of sequences' values.
        """
        return [
            self._advance_sequence(
                self.quote_name(model._meta.db_table), str(field.column)
            )
            for model in model_list
            for field in model._meta.local_fields
            if isinstance(field, AutoField)
        ]

    def _advance_sequence(self, table: str, column: str) -> str:
        names = ", ".join(
            "'{}'".format(name.replace("'", "''"))
            for name in (
                table,
                self.connection.introspection.identifier_converter(column),
            )
        )
        sequence = f"pg_get_serial_sequence({names})"
        return (
            f"SELECT setval(name, highest) FROM (SELECT {sequence} AS name, "
            f"max({self.quote_name(column)}) AS highest FROM {table}) AS keys "
            f"WHERE highest >= nextval(name);"
        )

    # Flush

    def sql_flush(
        self,
        style: Any,
        tables: Any,
        *,
        reset_sequences: bool = False,
        allow_cascade: bool = False,
    ) -> list[str]:
        """One DELETE per table: DSQL has no TRUNCATE."""
        deletes = [
            f"{style.SQL_KEYWORD('DELETE FROM')} {style.SQL_FIELD(self.quote_name(table))}"
            for table in tables
        ]
        if not reset_sequences:
            return deletes
        known = set(tables)
        sequences = [
            sequence
            for sequence in self.connection.introspection.sequence_list()
            if sequence["table"] in known
        ]
        return [*deletes, *self.sequence_reset_by_name_sql(style, sequences)]

    def execute_sql_flush(self, sql_list: Any) -> None:
        """Run the statements of sql_flush.

        1. All in one transaction and one round trip: Django's foreign keys are checked at
           its end.
        2. If they have more rows than a transaction takes, or keys that are checked at
           once: table by table in batches, referencing tables before referenced ones.
        3. If tables refer to each other in a circle: set what may be NULL to NULL first.
        """
        if not sql_list:
            return
        with self.connection.without_deadline():
            self._flush(sql_list)

    def _flush(self, sql_list: list[str]) -> None:
        try:
            self._run("; ".join(sql.rstrip(";") for sql in sql_list))
        except (IntegrityError, OperationalError) as error:
            from .ddl.batches import ROW_LIMIT  # no request flushes tables

            if not sqlstates(error) & {ROW_LIMIT, FOREIGN_KEY_VIOLATION}:
                raise
            deletes = [sql for sql in sql_list if "DELETE" in sql]
            # After DELETE FROM stands the quoted name.
            tables = [sql.split(" ", 2)[2][1:-1].replace('""', '"') for sql in deletes]
            self._empty(tables)
            for sql in sql_list[len(deletes) :]:
                self._run(sql)

    def _empty(self, tables: list[str]) -> None:
        tables, error = self._empty_in_rounds(tables)
        if tables:
            for table in tables:
                self._clear_references(table)
            tables, error = self._empty_in_rounds(tables)
        if error is not None:
            raise error

    def _empty_in_rounds(
        self, tables: list[str]
    ) -> tuple[list[str], IntegrityError | None]:
        """Empty tables that nothing refers to, in rounds; return those that remain."""
        while tables:
            refused, error = [], None
            for table in tables:
                try:
                    self._delete_in_batches(table)
                except IntegrityError as refusal:
                    refused.append(table)
                    error = refusal
            if len(refused) == len(tables):
                return tables, error
            tables = refused
        return [], None

    def _delete_in_batches(self, table: str) -> None:
        from .ddl.batches import BATCH
        from .ddl.catalog import Catalog

        columns = Catalog(self.connection).primary_key(table)
        # "ctid" names a row of a table that has no key.
        key = ", ".join(map(self.quote_name, columns)) or "ctid"
        name = self.quote_name(table)
        batch = f"DELETE FROM {name} WHERE ({key}) IN (SELECT {key} FROM {name} LIMIT {BATCH})"
        while self._run(batch):
            pass

    def _clear_references(self, table: str) -> None:
        from .ddl.batches import Batches
        from .ddl.catalog import Catalog

        catalog = Catalog(self.connection)
        with self.connection.cursor() as cursor:
            references = self.connection.introspection.get_relations(cursor, table)
        rows = Batches(self.connection, table, catalog.primary_key(table))
        for column, found in catalog.columns(table).items():
            if column in references and not found.not_null:
                name = self.quote_name(column)
                rows.update(f"{name} = NULL", f"{name} IS NOT NULL")

    def _run(self, sql: str) -> int:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return int(cursor.rowcount)
