"""DDL as DSQL takes it: one statement per transaction, indexes built in the background.

No operation can be rolled back, so each can be run again: a statement whose effect the
catalog already shows is skipped, one that finds something else fails. ``migrate`` also
keeps a journal of the steps that have ended (journal.py). A migration that was killed is
continued by the next ``migrate``.

The layers lie in ddl/: statements, tables, indexes, constraints, fields, alterations.
"""

import logging
import re

from django.db.backends.postgresql import schema

from config.dsql.ddl.alterations import Alterations
from config.dsql.ddl.indexes import INDEX_STATEMENT, NAME
from config.dsql.ddl.statements import step
from config.dsql.ddl.tables import CreateTable

logger = logging.getLogger(__name__)
VALIDATE = re.compile(
    rf"\s*ALTER TABLE (?P<rest>(?!ASYNC\b)(?:{NAME}\.)?{NAME} VALIDATE CONSTRAINT\b.*)",
    re.IGNORECASE | re.DOTALL,
)
LEAVING = re.compile(
    rf"\s*(?:DROP TABLE|ALTER TABLE(?=.*\bRENAME TO\b)) (?:IF EXISTS )?(?:{NAME}\.)?"
    rf"(?P<table>{NAME})",
    re.IGNORECASE | re.DOTALL,
)
EXTENSION = re.compile(r"\s*(CREATE|DROP) EXTENSION\b", re.IGNORECASE)


def quoted(name):
    """A name of raw SQL as PostgreSQL reads it: without quotes in lower case."""
    return name if name.startswith('"') else f'"{name.lower()}"'


class DatabaseSchemaEditor(Alterations):
    # Adding a constraint to a table takes NOT VALID, then a validation job.
    sql_create_fk = schema.DatabaseSchemaEditor.sql_create_fk + " NOT VALID"
    sql_create_check = schema.DatabaseSchemaEditor.sql_create_check + " NOT VALID"
    sql_delete_fk = schema.DatabaseSchemaEditor.sql_delete_constraint
    sql_delete_column = "ALTER TABLE %(table)s DROP COLUMN IF EXISTS %(column)s CASCADE"
    sql_delete_index_concurrently = schema.DatabaseSchemaEditor.sql_delete_index
    sql_validate = "ALTER TABLE ASYNC %(table)s VALIDATE CONSTRAINT %(name)s"
    sql_use_index = (
        "ALTER TABLE %(table)s ADD CONSTRAINT %(name)s UNIQUE "
        "USING INDEX %(name)s%(deferrable)s"
    )
    sql_create_index = (
        "CREATE INDEX ASYNC %(name)s ON %(table)s (%(columns)s)%(include)s%(condition)s"
    )
    sql_create_index_concurrently = sql_create_index
    sql_create_unique_index = (
        "CREATE UNIQUE INDEX ASYNC %(name)s ON %(table)s "
        "(%(columns)s)%(include)s%(nulls_distinct)s%(condition)s"
    )

    create_model = step(schema.DatabaseSchemaEditor.create_model)
    add_index = step(schema.DatabaseSchemaEditor.add_index)
    remove_index = step(schema.DatabaseSchemaEditor.remove_index)
    add_constraint = step(schema.DatabaseSchemaEditor.add_constraint)
    remove_constraint = step(schema.DatabaseSchemaEditor.remove_constraint)
    alter_field = step(schema.DatabaseSchemaEditor.alter_field)
    alter_db_table_comment = step(schema.DatabaseSchemaEditor.alter_db_table_comment)

    @step
    def execute(self, sql, params=()):
        """Run one statement in its own transaction; wait for the job it starts.

        Raises IntegrityError when a unique index could not be built or a constraint does
        not hold.
        """
        handler = self._handlers().get(getattr(sql, "template", None))
        if handler is not None:
            handler(sql)
        elif isinstance(sql, CreateTable):
            self._create_table(sql, params)
        elif found := INDEX_STATEMENT.match(str(sql)):
            table = ".".join(map(quoted, re.findall(NAME, found["table"])))
            name = self._unquoted(quoted(found["name"]))
            self.build_index(self._composed(sql, params), name, table)
        elif found := VALIDATE.match(str(sql)):
            self._validate(self._composed(f"ALTER TABLE ASYNC {found['rest']}", params))
        elif EXTENSION.match(str(sql)):
            # What needs the extension will be refused; much that names one does not.
            logger.warning("DSQL has no extensions; not run: %s", sql)
            self.note(f"DSQL has no extensions: {sql}")
        else:
            if found := LEAVING.match(str(sql)):
                self._leave(self._unquoted(quoted(found["table"])))
            self._execute(sql, params)

    def _handlers(self):
        return {
            self.sql_create_unique: self._add_unique,
            self.sql_create_fk: self._add_constraint,
            self.sql_create_check: self._add_constraint,
            self.sql_create_index: self._add_index,
            self.sql_create_unique_index: self._add_index,
            self.sql_delete_constraint: self._drop_constraint,
        }
