"""SQL as text: what DSQL takes, how to recognize what others write, and names."""

import re
from collections.abc import Sequence
from typing import Any, Protocol

from django.db.backends.ddl_references import Statement
from django.db.backends.postgresql.schema import DatabaseSchemaEditor
from django.db.backends.utils import names_digest, split_identifier

UNDEFINED_TABLE, UNDEFINED_COLUMN, UNDEFINED_OBJECT = "42P01", "42703", "42704"
DUPLICATE_TABLE, DUPLICATE_COLUMN, DUPLICATE_OBJECT = "42P07", "42701", "42710"
NAME_LENGTH = 63  # bytes of a name; PostgreSQL cuts what is longer
DIGEST_LENGTH = 4  # of a name that is cut, as Django's

# Templates. A constraint is added to an existing table NOT VALID, then validated by a job.
ADD_FOREIGN_KEY = DatabaseSchemaEditor.sql_create_fk + " NOT VALID"
ADD_CHECK = DatabaseSchemaEditor.sql_create_check + " NOT VALID"
ADD_UNIQUE = DatabaseSchemaEditor.sql_create_unique
DROP_CONSTRAINT = DatabaseSchemaEditor.sql_delete_constraint
VALIDATE_CONSTRAINT = "ALTER TABLE ASYNC %(table)s VALIDATE CONSTRAINT %(name)s"
USE_INDEX = (
    "ALTER TABLE %(table)s ADD CONSTRAINT %(name)s UNIQUE "
    "USING INDEX %(name)s%(deferrable)s"
)
CREATE_INDEX = (
    "CREATE INDEX ASYNC %(name)s ON %(table)s (%(columns)s)%(include)s%(condition)s"
)
CREATE_UNIQUE_INDEX = (
    "CREATE UNIQUE INDEX ASYNC %(name)s ON %(table)s "
    "(%(columns)s)%(include)s%(nulls_distinct)s%(condition)s"
)
ADD_COLUMN = DatabaseSchemaEditor.sql_create_column
DROP_COLUMN = "ALTER TABLE %(table)s DROP COLUMN IF EXISTS %(column)s CASCADE"

# Patterns of raw SQL.
NAME = r'(?:"(?:[^"]|"")+"|\w+)'
INDEX_STATEMENT = re.compile(
    rf"\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+ASYNC\s+(?:IF\s+NOT\s+EXISTS\s+)?"
    rf"(?P<name>{NAME})\s+ON\s+(?P<table>(?:{NAME}\.)?{NAME})",
    re.IGNORECASE,
)
VALIDATION = re.compile(
    rf"\s*ALTER TABLE (?P<rest>(?!ASYNC\b)(?:{NAME}\.)?{NAME} VALIDATE CONSTRAINT\b.*)",
    re.IGNORECASE | re.DOTALL,
)
# Of a table: its name does not exist any more afterwards.
REMOVAL = re.compile(
    rf"\s*(?:DROP TABLE|ALTER TABLE(?=.*\bRENAME TO\b)) (?:IF EXISTS )?(?:{NAME}\.)?"
    rf"(?P<table>{NAME})",
    re.IGNORECASE | re.DOTALL,
)
EXTENSION = re.compile(r"\s*(CREATE|DROP) EXTENSION\b", re.IGNORECASE)
NAMED_UNIQUE = re.compile(r'CONSTRAINT "(?:[^"]|"")+" UNIQUE\b')
# As pg_get_indexdef() prints it.
INDEX_HEAD = re.compile(r'CREATE (UNIQUE )?INDEX .*? ON .*? USING "?\w+"? ', re.DOTALL)

# A cast to a length cuts the value without a word; an assignment refuses it. So values
# are cast to the type without its length, and assigned. "char" alone has the length 1.
WITHOUT_LENGTH = {
    "char": "bpchar",
    "character": "bpchar",
    "nchar": "bpchar",
    "varchar": "varchar",
    "character varying": "varchar",
}


class Writer(Protocol):
    """Django's schema editor as the parts see it: it writes SQL for models and fields."""

    connection: Any
    deferred_sql: list[Any]

    def quote_name(self, name: str) -> str: ...
    def db_default_sql(self, field: Any) -> tuple[str, Sequence[Any]]: ...
    def effective_default(self, field: Any) -> Any: ...
    def _column_default_sql(self, field: Any) -> str: ...
    def _create_index_name(
        self, table_name: str, column_names: Sequence[str], suffix: str = ""
    ) -> str: ...
    def _create_index_sql(
        self, model: Any, *, fields: Sequence[Any] | None = None
    ) -> Statement: ...
    def _delete_index_sql(self, model: Any, name: str) -> Statement: ...
    def _model_indexes_sql(self, model: Any) -> list[Statement]: ...
    def _field_indexes_sql(self, model: Any, field: Any) -> list[Statement]: ...
    def _create_unique_sql(self, model: Any, fields: Sequence[Any]) -> Statement: ...
    def _create_check_sql(self, model: Any, name: str, check: str) -> Statement: ...
    def _create_fk_sql(self, model: Any, field: Any, suffix: str) -> Statement: ...
    def _delete_constraint_sql(
        self, template: str, model: Any, name: str
    ) -> Statement: ...
    def _constraint_names(
        self, model: Any, column_names: Sequence[str], **which: Any
    ) -> list[str]: ...
    def _rename_field_sql(
        self, table: str, old_field: Any, new_field: Any, new_type: str | None
    ) -> str: ...
    def _alter_column_comment_sql(
        self, model: Any, new_field: Any, new_type: str | None, new_db_comment: str
    ) -> tuple[str, Sequence[Any]]: ...
    def _field_should_be_altered(
        self, old_field: Any, new_field: Any, ignore: set[str]
    ) -> bool: ...
    def _field_db_check(self, field: Any, field_db_params: Any) -> str | None: ...
    def _unique_should_be_added(self, old_field: Any, new_field: Any) -> bool: ...


def cast_type(db_type: str) -> str:
    """What a value is cast to before it is assigned to a column of the type."""
    name = db_type.partition("(")[0].strip().lower()
    return WITHOUT_LENGTH.get(name, db_type)


def cut_name(name: str, length: int = NAME_LENGTH) -> str:
    """The name as PostgreSQL cuts it: to a length in bytes, with whole characters."""
    return name.encode()[:length].decode(errors="ignore")


def mark_name(name: str, mark: str) -> str:
    """The name with the mark at its end, in the length that PostgreSQL takes.

    A name that is cut for that has a digest of itself before the mark.
    """
    length = NAME_LENGTH - len(mark.encode())
    if len(name.encode()) > length:
        digest = names_digest(name, length=DIGEST_LENGTH)
        name = f"{cut_name(name, length - DIGEST_LENGTH)}{digest}"
    return f"{name}{mark}"


def quote_raw_name(name: str) -> str:
    """A name of raw SQL as PostgreSQL reads it: without quotes in lower case."""
    return name if name.startswith('"') else f'"{name.lower()}"'


def unquote(name: object) -> str:
    """A name as it stands in the catalog; db_column and db_table may have quotes."""
    text = str(name)
    return cut_name(text[1:-1].replace('""', '"') if text.startswith('"') else text)


def relation_name(quoted: str) -> str:
    """A quoted table's name without the schema that db_table may carry."""
    return unquote(split_identifier(quoted)[1])


def is_same_text(printed: str, written: str) -> bool:
    """Whether nothing but quotes differs, as where there are only names."""
    return printed.replace('"', "") == written.replace('"', "")
