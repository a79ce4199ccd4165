"""What the catalog says: the schema editor resumes and chooses its steps by it.

Only catalogs that the AWS user guide lists as supported are read ("System tables and
commands"), joined by OID, and information_schema.columns. Four functions are called:
current_schema(), format_type(), pg_get_constraintdef() and pg_get_indexdef(). What a name
means is found by a join and not by a cast to regclass; arrays are taken apart and put in
order here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import ProgrammingError
from django.db.backends.utils import split_identifier

from config.dsql.conflicts import sqlstates
from config.dsql.retry import run_statement

CANNOT_COERCE, UNDEFINED_FUNCTION = "42846", "42883"

# A validated CHECK of this name stands for NOT NULL: DSQL has no SET NOT NULL.
NOT_NULL_SUFFIX = "_notnull"
NOT_VALID = " NOT VALID"
RELATION = "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
COLUMN = f"{RELATION} JOIN pg_attribute a ON a.attrelid = c.oid"
CONSTRAINT = f"{RELATION} JOIN pg_constraint k ON k.conrelid = c.oid"
# One row for each column that the constraint names.
CONSTRAINT_COLUMN = (
    f"{COLUMN} JOIN pg_constraint k ON k.conrelid = c.oid AND a.attnum = ANY (k.conkey)"
)
INDEX = (
    f"{RELATION} JOIN pg_index i ON i.indrelid = c.oid "
    "JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam "
    "LEFT JOIN pg_constraint k ON k.conindid = x.oid AND k.contype IN ('p', 'u')"
)
DEPENDENT = (
    f"{COLUMN} JOIN pg_depend d ON d.refobjid = c.oid AND d.refobjsubid = a.attnum"
)
PG_CLASS = 1259  # the OID of the catalog of relations, the same everywhere
DESCENDING, NULLS_FIRST = 1, 2  # bits of pg_index.indoption
DEFERRALS = {
    (True, True): " DEFERRABLE INITIALLY DEFERRED",
    (True, False): " DEFERRABLE INITIALLY IMMEDIATE",
}


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: tuple[int, int]  # OID and modifier
    shown: str  # the type as format_type() prints it
    not_null: bool  # the column's own mark, not a CHECK
    identity: str
    generated: str


@dataclass(frozen=True, slots=True)
class Constraint:
    kind: str  # pg_constraint.contype
    valid: bool
    definition: str


@dataclass(frozen=True, slots=True)
class Index:
    oid: int
    name: str
    table: str
    method: str
    options: list[str] | None
    unique: bool
    primary: bool
    valid: bool
    nulls_not_distinct: bool
    partial: bool
    definition: str
    constraint: str | None  # contype of the constraint it serves
    constraint_oid: int | None
    deferral: str
    keys: tuple[str | None, ...]  # names of columns; None where a key is an expression
    included: tuple[str | None, ...]
    key_options: tuple[int, ...]

    @property
    def nulls_first(self) -> tuple[bool, ...]:
        return tuple(bool(option & NULLS_FIRST) for option in self.key_options)


class Catalog:
    """Each question is one query or two, repeated when a schema change interrupts them (OC001)."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def rows(self, query: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        def work() -> list[tuple[Any, ...]]:
            with self.connection.cursor() as cursor:
                cursor.execute(query, params or None)
                return list(cursor.fetchall())

        return run_statement(work, using=self.connection.alias)

    def relation(self, table: str, alias: str = "c") -> tuple[str, list[str]]:
        """The condition that finds a table as db_table names it, and its parameters."""
        return self._named(table, f"{alias}.relname", "n.nspname")

    def _named(self, table: str, name: str, schema: str) -> tuple[str, list[str]]:
        """``name`` and ``schema`` are the columns that the names are compared with."""
        parts = split_identifier(self._quoted(table))
        in_schema, bare = (part.replace('""', '"') for part in parts)
        if in_schema:
            return f"{name} = %s AND {schema} = %s", [bare, in_schema]
        return f"{name} = %s AND {schema} = current_schema()", [bare]

    def has_table(self, table: str) -> bool:
        where, params = self.relation(table)
        return bool(self.rows(f"SELECT c.oid {RELATION} WHERE {where}", params))

    def has_rows(self, table: str) -> bool:
        return bool(self.rows(f"SELECT 1 FROM {self._quoted(table)} LIMIT 1"))

    def columns(self, table: str) -> dict[str, Column]:
        where, params = self.relation(table)
        found = self.rows(
            "SELECT a.attname, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod), "
            f"a.attnotnull, a.attidentity, a.attgenerated {COLUMN} "
            f"WHERE {where} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            params,
        )
        return {
            name: Column(name, (oid, modifier), *rest)
            for name, oid, modifier, *rest in found
        }

    def defaults(self, table: str) -> dict[str, str]:
        """Each column's default, of a generated column what generates it, as SQL."""
        where, params = self._named(table, "table_name", "table_schema")
        found = self.rows(
            "SELECT column_name, column_default, generation_expression "
            f"FROM information_schema.columns WHERE {where}",
            params,
        )
        return {
            name: default or made for name, default, made in found if default or made
        }

    def comment(self, table: str, column: str) -> str | None:
        where, params = self.relation(table)
        found = self.rows(
            f"SELECT d.description {COLUMN} "
            # Of what has columns no two have one OID.
            "JOIN pg_description d ON d.objoid = c.oid AND d.objsubid = a.attnum "
            f"WHERE {where} AND a.attname = %s",
            [*params, column],
        )
        return found[0][0] if found else None

    def types(self, names: Iterable[str]) -> list[tuple[int, int]]:
        """OID and modifier of each type as the database reads its name."""
        typed = ", ".join(f"NULL::{name}" for name in names)

        def work() -> list[tuple[int, int]]:
            with self.connection.cursor() as cursor:
                cursor.execute(f"SELECT {typed}")
                result = cursor.pgresult
                return [
                    (result.ftype(i), result.fmod(i)) for i in range(result.nfields)
                ]

        return run_statement(work, using=self.connection.alias)

    def can_copy(self, old_type: str, new_type: str) -> bool:
        """Whether values can be cast to the new type and compared with it."""
        try:
            self.rows(
                f"SELECT NULL::{new_type} IS DISTINCT FROM NULL::{old_type}::{new_type}"
            )
        except ProgrammingError as error:
            if sqlstates(error) & {CANNOT_COERCE, UNDEFINED_FUNCTION}:
                return False
            raise
        return True

    def primary_key(self, table: str) -> list[str]:
        where, params = self.relation(table)
        found = self.rows(
            f"SELECT a.attname, a.attnum, k.conkey {CONSTRAINT_COLUMN} "
            f"WHERE {where} AND k.contype = 'p'",
            params,
        )
        return [
            name
            for name, number, key in sorted(found, key=lambda row: row[2].index(row[1]))
        ]

    def not_null_checks(self, table: str, column: str) -> list[str]:
        return [
            name
            for name, found in self.constraints_on(table, column).items()
            if _is_not_null(name, found.definition, column)
        ]

    def checked_not_null(self, table: str) -> set[str]:
        """The columns that a validated CHECK keeps from being NULL."""
        where, params = self.relation(table)
        found = self.rows(
            f"SELECT a.attname, k.conname, pg_get_constraintdef(k.oid) {CONSTRAINT_COLUMN} "
            f"WHERE {where} AND k.contype = 'c' AND k.convalidated",
            params,
        )
        return {
            column
            for column, name, definition in found
            if _is_not_null(name, definition, column)
        }

    def definitions(self, table: str) -> list[str]:
        """Of its constraints without the primary key, whose text names every column."""
        where, params = self.relation(table)
        found = self.rows(
            f"SELECT pg_get_constraintdef(k.oid) {CONSTRAINT} "
            f"WHERE {where} AND k.contype <> 'p'",
            params,
        )
        return sorted(definition for (definition,) in found)

    def constraint(self, table: str, name: str) -> Constraint | None:
        where, params = self.relation(table)
        found = self.rows(
            f"SELECT k.contype, k.convalidated, pg_get_constraintdef(k.oid) {CONSTRAINT} "
            f"WHERE {where} AND k.conname = %s",
            [*params, name],
        )
        return Constraint(*found[0]) if found else None

    def definition(self, table: str, name: str) -> str:
        """Of a constraint, valid or not; empty when there is none."""
        found = self.constraint(table, name)
        return found.definition.removesuffix(NOT_VALID) if found else ""

    def constraints_on(self, table: str, column: str) -> dict[str, Constraint]:
        """CHECK and FOREIGN KEY constraints that name the column."""
        where, params = self.relation(table)
        found = self.rows(
            "SELECT k.conname, k.contype, k.convalidated, pg_get_constraintdef(k.oid) "
            f"{CONSTRAINT_COLUMN} WHERE {where} AND k.contype IN ('c', 'f') AND a.attname = %s",
            [*params, column],
        )
        return {name: Constraint(*rest) for name, *rest in found}

    def needed_by(self, table: str, column: str) -> list[str]:
        """Views and generated columns that name the column."""
        where, params = self.relation(table)
        views = self.rows(
            f"SELECT DISTINCT v.relname {DEPENDENT} "
            # A view needs its rule, and its rule the column.
            "JOIN pg_depend r ON r.objid = d.objid AND r.classid = d.classid "
            "JOIN pg_class v ON v.oid = r.refobjid "
            f"WHERE {where} AND a.attname = %s AND v.relkind = 'v' AND r.deptype = 'i'",
            [*params, column],
        )
        generated = self.rows(
            f"SELECT g.attname {DEPENDENT} JOIN pg_attrdef f ON f.oid = d.objid "
            "JOIN pg_attribute g ON g.attrelid = f.adrelid AND g.attnum = f.adnum "
            f"WHERE {where} AND a.attname = %s AND g.attnum <> a.attnum AND g.attgenerated <> ''",
            [*params, column],
        )
        return [
            *(f"view {name}" for (name,) in views),
            *(f"generated column {name}" for (name,) in generated),
        ]

    def index(self, table: str, name: str) -> Index | None:
        """The index of that name in the table's schema, whatever table it is on."""
        # The table gives the schema; the name to be found is the index's.
        where, (_, *schema) = self.relation(table, "x")
        found = self._indexes(where, [name, *schema])
        return found[0] if found else None

    def indexes(self, table: str) -> list[Index]:
        """The valid ones; a build that failed leaves one that is not."""
        where, params = self.relation(table)
        return self._indexes(f"{where} AND i.indisvalid", params)

    def indexes_on(self, table: str, column: str) -> list[Index]:
        """Valid indexes that name the column, also in an expression or predicate."""
        where, params = self.relation(table)
        found = self.rows(
            f"SELECT d.objid {DEPENDENT} WHERE {where} AND a.attname = %s",
            [*params, column],
        )
        dependent = {oid for (oid,) in found}
        return [
            index
            for index in self.indexes(table)
            # What serves a constraint depends on that, and that on the column.
            if {index.oid, index.constraint_oid} & dependent
        ]

    def invalid_indexes(self) -> list[tuple[str, str]]:
        """Name and table of every index of the schema that is not valid."""
        found = self.rows(
            f"SELECT x.relname, c.relname {RELATION} JOIN pg_index i ON i.indrelid = c.oid "
            "JOIN pg_class x ON x.oid = i.indexrelid "
            "WHERE NOT i.indisvalid AND n.nspname = current_schema() ORDER BY x.relname"
        )
        return [(name, table) for name, table in found]

    def active_job(self, index: Index) -> str | None:
        """The job that still builds the index, if any."""
        found = self.rows(
            "SELECT job_id FROM sys.jobs WHERE status IN ('submitted', 'processing') "
            "AND job_type = 'INDEX_BUILD' AND object_id = %s",
            [index.oid],
        )
        return found[0][0] if found else None

    def column_names(self, relation: int) -> dict[int, str]:
        """The relation's columns by their number."""
        query = "SELECT attnum, attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0"
        return dict(self.rows(query, [relation]))

    def _indexes(self, condition: str, params: Sequence[str]) -> list[Index]:
        found = self.rows(
            "SELECT x.oid, x.relname, c.relname, m.amname, x.reloptions, i.indisunique, "
            "i.indisprimary, i.indisvalid, i.indnullsnotdistinct, i.indpred IS NOT NULL, "
            "pg_get_indexdef(x.oid), k.contype, k.oid, k.condeferrable, k.condeferred, "
            f"c.oid, i.indnkeyatts, i.indkey, i.indoption {INDEX} "
            f"WHERE {condition} ORDER BY x.relname",
            params,
        )
        names = {row[15]: self.column_names(row[15]) for row in found}
        made: Any = Index
        return [
            made(
                *row[:13],
                DEFERRALS.get(row[13:15], ""),
                tuple(map(names[row[15]].get, numbers(row[17])[: row[16]])),
                tuple(map(names[row[15]].get, numbers(row[17])[row[16] :])),
                numbers(row[18]),
            )
            for row in found
        ]

    def _quoted(self, name: str) -> str:
        return str(self.connection.ops.quote_name(name))


def numbers(vector: str) -> tuple[int, ...]:
    """What int2vector holds, whose text is numbers with spaces between them."""
    return tuple(map(int, vector.split()))


def _is_not_null(name: str, definition: str, column: str) -> bool:
    """Whether the CHECK stands for NOT NULL; a name alone may end so by chance."""
    return name.endswith(NOT_NULL_SUFFIX) and same_text(
        definition.removesuffix(NOT_VALID), f"CHECK (({column} IS NOT NULL))"
    )


def same_text(printed: str, written: str) -> bool:
    """Whether nothing but quotes differs, as where there are only names."""
    return printed.replace('"', "") == written.replace('"', "")
