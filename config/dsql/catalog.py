"""What the catalog says: the schema editor resumes and chooses its steps by it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import ProgrammingError

from config.dsql.conflicts import sqlstates
from config.dsql.retry import run_statement

CANNOT_COERCE, UNDEFINED_FUNCTION = "42846", "42883"

# A validated CHECK of this name stands for NOT NULL: DSQL has no SET NOT NULL.
NOT_NULL_SUFFIX = "_notnull"
# The key columns of an index as quoted names; NULL where a key is an expression.
KEYS = """ARRAY(SELECT quote_ident(a.attname) FROM unnest(i.indkey::int2[]) WITH ORDINALITY
    AS k(attnum, at) LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE at %s i.indnkeyatts ORDER BY at)"""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: tuple[int, int]  # OID and modifier
    shown: str  # the type as format_type() prints it
    not_null: bool  # the column's own mark, not a CHECK
    identity: str
    generated: str
    default: str | None  # of a generated column, what generates it


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
    unique: bool
    valid: bool
    definition: str
    keys: tuple[str | None, ...]
    included: tuple[str, ...]
    nulls_not_distinct: bool
    partial: bool
    constraint: str | None  # contype of the constraint it serves
    deferral: str
    nulls_first: tuple[bool, ...]  # of each key


class Catalog:
    """Each question is one query, repeated when a schema change interrupts it (OC001)."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def rows(self, query: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        def work() -> list[tuple[Any, ...]]:
            with self.connection.cursor() as cursor:
                cursor.execute(query, params or None)
                return list(cursor.fetchall())

        return run_statement(work, using=self.connection.alias)

    def has_table(self, table: str) -> bool:
        return self.rows("SELECT to_regclass(%s)", [self._quoted(table)]) != [(None,)]

    def has_rows(self, table: str) -> bool:
        return bool(self.rows(f"SELECT 1 FROM {self._quoted(table)} LIMIT 1"))

    def columns(self, table: str) -> dict[str, Column]:
        found = self.rows(
            "SELECT attname, atttypid::int8, atttypmod, format_type(atttypid, atttypmod), "
            "attnotnull, attidentity::text, attgenerated::text, pg_get_expr(adbin, adrelid) "
            "FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum "
            "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            [self._quoted(table)],
        )
        return {
            name: Column(name, (oid, modifier), *rest)
            for name, oid, modifier, *rest in found
        }

    def comment(self, table: str, column: str) -> str | None:
        found = self.rows(
            "SELECT col_description(attrelid, attnum) FROM pg_attribute "
            "WHERE attrelid = to_regclass(%s) AND attname = %s",
            [self._quoted(table), column],
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
        found = self.rows(
            "SELECT attname FROM pg_constraint JOIN pg_attribute "
            "ON attrelid = conrelid AND attnum = ANY (conkey) "
            "WHERE contype = 'p' AND conrelid = to_regclass(%s) "
            "ORDER BY array_position(conkey, attnum)",
            [self._quoted(table)],
        )
        return [name for (name,) in found]

    def not_null_checks(self, table: str, column: str) -> list[str]:
        found = self.rows(
            "SELECT conname FROM pg_constraint JOIN pg_attribute "
            "ON attrelid = conrelid AND conkey = ARRAY[attnum] "
            "WHERE contype = 'c' AND conrelid = to_regclass(%s) AND attname = %s "
            f"AND conname LIKE '%%\\{NOT_NULL_SUFFIX}' "
            # A name may end so by chance.
            "AND replace(pg_get_constraintdef(pg_constraint.oid), ' NOT VALID', '') "
            "= 'CHECK ((' || quote_ident(attname) || ' IS NOT NULL))'",
            [self._quoted(table), column],
        )
        return [name for (name,) in found]

    def definitions(self, table: str) -> list[str]:
        """Of its constraints without the primary key, whose text names every column."""
        found = self.rows(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE contype <> 'p' AND conrelid = to_regclass(%s) ORDER BY 1",
            [self._quoted(table)],
        )
        return [definition for (definition,) in found]

    def constraint(self, table: str, name: str) -> Constraint | None:
        found = self.rows(
            "SELECT contype, convalidated, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE conrelid = to_regclass(%s) AND conname = %s",
            [self._quoted(table), name],
        )
        return Constraint(*found[0]) if found else None

    def definition(self, table: str, name: str) -> str:
        """Of a constraint, valid or not; empty when there is none."""
        found = self.constraint(table, name)
        return found.definition.removesuffix(" NOT VALID") if found else ""

    def constraints_on(self, table: str, column: str) -> dict[str, Constraint]:
        """CHECK and FOREIGN KEY constraints that name the column."""
        found = self.rows(
            "SELECT conname, contype, convalidated, pg_get_constraintdef(c.oid) "
            "FROM pg_constraint c JOIN pg_attribute "
            "ON attrelid = conrelid AND attnum = ANY (conkey) "
            "WHERE contype IN ('c', 'f') AND conrelid = to_regclass(%s) AND attname = %s",
            [self._quoted(table), column],
        )
        return {name: Constraint(*rest) for name, *rest in found}

    def needed_by(self, table: str, column: str) -> list[str]:
        """Views and generated columns that name the column."""
        found = self.rows(
            "SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) "
            "FROM pg_depend d JOIN pg_attribute a "
            "ON attrelid = d.refobjid AND attnum = d.refobjsubid "
            "LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid "
            "WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass(%s) "
            "AND attname = %s AND (d.classid = 'pg_rewrite'::regclass OR f.adnum <> a.attnum)",
            [self._quoted(table), column],
        )
        return [description for (description,) in found]

    def index(self, table: str, name: str) -> Index | None:
        """The index of that name in the table's schema, whatever table it is on."""
        found = self._indexes(
            "x.relname = %s AND x.relnamespace = "
            "(SELECT relnamespace FROM pg_class WHERE oid = to_regclass(%s))",
            name,
            self._quoted(table),
        )
        return found[0] if found else None

    def indexes_on(self, table: str, column: str) -> list[Index]:
        """Valid indexes that name the column, also in an expression or predicate."""
        return self._indexes(
            "i.indrelid = to_regclass(%s) AND i.indisvalid AND EXISTS (SELECT FROM pg_depend "
            "JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid "
            "WHERE objid IN (i.indexrelid, c.oid) AND refobjid = i.indrelid AND attname = %s)",
            self._quoted(table),
            column,
        )

    def invalid_indexes(self) -> list[tuple[str, str]]:
        """Name and table of every index of the schema that is not valid."""
        found = self.rows(
            "SELECT x.relname, t.relname FROM pg_index i "
            "JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid "
            "WHERE NOT i.indisvalid AND x.relnamespace = current_schema()::regnamespace "
            "ORDER BY x.relname"
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

    def _indexes(self, condition: str, *params: str) -> list[Index]:
        found = self.rows(
            "SELECT x.oid::int8, x.relname, t.relname, i.indisunique, i.indisvalid, "
            "pg_get_indexdef(i.indexrelid), "
            f"{KEYS % '<='}, {KEYS % '>'}, i.indnullsnotdistinct, "
            "i.indpred IS NOT NULL, c.contype, "
            "CASE WHEN c.condeferred THEN ' DEFERRABLE INITIALLY DEFERRED' "
            "WHEN c.condeferrable THEN ' DEFERRABLE INITIALLY IMMEDIATE' ELSE '' END, "
            "ARRAY(SELECT option & 2 > 0 FROM unnest(i.indoption::int2[]) AS option) "
            "FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid "
            "JOIN pg_class t ON t.oid = i.indrelid "
            "LEFT JOIN pg_constraint c "
            "ON c.conindid = i.indexrelid AND c.contype IN ('p', 'u') "
            f"WHERE {condition} ORDER BY x.relname",
            params,
        )
        made: Any = Index
        return [
            made(*head, tuple(keys), tuple(included), *rest)
            for *head, keys, included, distinct, partial, constraint, deferral, first in found
            for rest in [(distinct, partial, constraint, deferral, tuple(first))]
        ]

    def _quoted(self, name: str) -> str:
        return str(self.connection.ops.quote_name(name))
