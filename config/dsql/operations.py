"""SQL that differs from PostgreSQL's outside the schema."""

from django.db.backends.postgresql import operations


class DatabaseOperations(operations.DatabaseOperations):
    # Identity columns are bigint whatever the field's class.
    integer_field_ranges = {
        **operations.DatabaseOperations.integer_field_ranges,
        "AutoField": (-9223372036854775808, 9223372036854775807),
        "SmallAutoField": (-9223372036854775808, 9223372036854775807),
    }

    def sql_flush(self, style, tables, *, reset_sequences=False, allow_cascade=False):
        """One DELETE per table: DSQL has no TRUNCATE."""
        return [
            f"{style.SQL_KEYWORD('DELETE FROM')} {style.SQL_FIELD(self.quote_name(table))};"
            for table in tables
        ]
