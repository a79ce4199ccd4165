"""DDL as DSQL takes it: one statement per transaction, indexes built in the background."""

from django.db.backends.postgresql import schema


class DatabaseSchemaEditor(schema.DatabaseSchemaEditor):
    sql_create_index = (
        "CREATE INDEX ASYNC %(name)s ON %(table)s (%(columns)s)%(include)s%(condition)s"
    )
    sql_create_unique_index = (
        "CREATE UNIQUE INDEX ASYNC %(name)s ON %(table)s "
        "(%(columns)s)%(include)s%(nulls_distinct)s%(condition)s"
    )
