"""SQL that differs from PostgreSQL's outside the schema."""

from django.db import IntegrityError, OperationalError
from django.db.backends.postgresql import operations

from config.dsql.conflicts import sqlstates
from config.dsql.retry import run_statement

PROGRAM_LIMIT_EXCEEDED = "54000"
BATCH = 1000  # rows; DSQL takes 3,000 changed rows per transaction, cascades included


class DatabaseOperations(operations.DatabaseOperations):
    # Identity columns are bigint whatever the field's class.
    integer_field_ranges = {
        **operations.DatabaseOperations.integer_field_ranges,
        "AutoField": (-9223372036854775808, 9223372036854775807),
        "SmallAutoField": (-9223372036854775808, 9223372036854775807),
    }

    def set_time_zone_sql(self):
        return "SET TIME ZONE %s"

    def sql_flush(self, style, tables, *, reset_sequences=False, allow_cascade=False):
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

    def execute_sql_flush(self, sql_list):
        """Each statement for itself, referencing tables before referenced ones.

        A table that others still refer to waits for the next round; a table with more
        rows than a transaction takes is emptied in batches.
        """
        waiting = list(sql_list)
        while waiting:
            refused, error = [], None
            for sql in waiting:
                try:
                    self._flush(sql)
                except IntegrityError as refusal:
                    refused.append(sql)
                    error = refusal
            if error is not None and len(refused) == len(waiting):
                raise error
            waiting = refused

    def _flush(self, sql):
        alias = self.connection.alias
        try:
            run_statement(lambda: self._execute(sql), using=alias)
        except OperationalError as error:
            if PROGRAM_LIMIT_EXCEEDED not in sqlstates(error):
                raise
            table = sql.split(" ", 2)[2]  # after DELETE FROM
            # "ctid" names a row whatever the table's key is.
            batch = f"{sql} WHERE ctid IN (SELECT ctid FROM {table} LIMIT {BATCH})"  # noqa: S608 - quoted by sql_flush
            while run_statement(lambda: self._execute(batch), using=alias):
                pass

    def _execute(self, sql):
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.rowcount
