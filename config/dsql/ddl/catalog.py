"""What the catalog shows: the schema editor resumes and chooses its steps by it.

Only catalogs that the AWS user guide lists as supported are read ("System tables and
commands"), joined by OID, and information_schema.columns. Four functions are called:
current_schema(), format_type(), pg_get_constraintdef() and pg_get_indexdef(). A name is
resolved by a join and not by a cast to regclass; arrays are taken apart and ordered here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import ProgrammingError
from django.db.backends.utils import split_identifier

from ..conflicts import sqlstates
from .sql import cut_name, is_same_text

CANNOT_COERCE, UNDEFINED_FUNCTION = "42846", "42883"

# A validated CHECK of this name stands for NOT NULL: DSQL has no SET NOT NULL.
NOT_NULL_SUFFIX = "_notnull"
NOT_VALID = " NOT VALID"
RELATION = "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
COLUMN = f"{RELATION} JOIN pg_attribute a ON a.attrelid = c.oid"
CONSTRAINT = f"{RELATION} JOIN pg_constraint k ON k.conrelid = c.oid"
# One row for each column that the constraint names; one for a CHECK that names none.
CONSTRAINT_OR_COLUMN = f"{CONSTRAINT} LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (k.conkey)"
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


class TableColumns(dict[str, Column]):
    """A table's columns by name; ProgrammingError for one that does not exist."""

    def __init__(self, table: str) -> None:
        super().__init__()
        self._table = table

    def __missing__(self, name: str) -> Column:
        raise ProgrammingError(
            f"Table {self._table} has no column {name}, which the migrations before say it "
            f"has. Add it as they do, or record them with --fake if it is as intended."
        )


@dataclass(frozen=True, slots=True)
class Constraint:
    kind: str  # pg_constraint.contype
    valid: bool
    definition: str
    columns: frozenset[str] = frozenset()  # known where a whole table is read


class Constraints(dict[str, Constraint]):
    """A table's constraints by name, read by one query."""

    def on(self, column: str) -> dict[str, Constraint]:
        """CHECK and FOREIGN KEY constraints that name the column."""
        return {
            name: constraint
            for name, constraint in self.items()
            if constraint.kind in ("c", "f") and column in constraint.columns
        }

    def not_null_checks(self, column: str) -> list[str]:
        """The CHECKs that stand for the column's NOT NULL."""
        return [
            name
            for name, constraint in self.on(column).items()
            if _is_not_null(name, constraint.definition, column)
        ]


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
    uses: frozenset[str]  # columns that it names, also in an expression or predicate

    @property
    def nulls_first(self) -> tuple[bool, ...]:
        return tuple(bool(option & NULLS_FIRST) for option in self.key_options)


class Catalog:
    """Each method sends one query or two; the cursor repeats one that a schema change ends."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def rows(self, query: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(query, params or None)
            return list(cursor.fetchall())

    def relation(self, table: str, alias: str = "c") -> tuple[str, list[str]]:
        """The condition that finds a table as db_table names it, and its parameters."""
        return self._named(table, f"{alias}.relname", "n.nspname")

    def _named(self, table: str, name: str, schema: str) -> tuple[str, list[str]]:
        """``name`` and ``schema`` are the columns that the names are compared with."""
        parts = split_identifier(self._quoted(table))
        in_schema, bare = (cut_name(part.replace('""', '"')) for part in parts)
        if in_schema:
            return f"{name} = %s AND {schema} = %s", [bare, in_schema]
        return f"{name} = %s AND {schema} = current_schema()", [bare]

    def has_table(self, table: str) -> bool:
        where, params = self.relation(table)
        return bool(self.rows(f"SELECT c.oid {RELATION} WHERE {where}", params))

    def has_rows(self, table: str) -> bool:
        return bool(self.rows(f"SELECT 1 FROM {self._quoted(table)} LIMIT 1"))

    def columns(self, table: str) -> dict[str, Column]:
        """By name; see TableColumns."""
        where, params = self.relation(table)
        rows = self.rows(
            "SELECT a.attname, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod), "
            f"a.attnotnull, a.attidentity, a.attgenerated {COLUMN} "
            f"WHERE {where} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            params,
        )
        columns = TableColumns(table)
        for name, oid, modifier, *rest in rows:
            columns[name] = Column(name, (oid, modifier), *rest)
        return columns

    def defaults(self, table: str) -> dict[str, str]:
        """Each column's default, of a generated column what generates it, as SQL."""
        where, params = self._named(table, "table_name", "table_schema")
        rows = self.rows(
            "SELECT column_name, column_default, generation_expression "
            f"FROM information_schema.columns WHERE {where}",
            params,
        )
        return {
            name: default or generated
            for name, default, generated in rows
            if default or generated
        }

    def comment(self, table: str, column: str) -> str | None:
        where, params = self.relation(table)
        rows = self.rows(
            f"SELECT d.description {COLUMN} "
            # Of what has columns no two have one OID.
            "JOIN pg_description d ON d.objoid = c.oid AND d.objsubid = a.attnum "
            f"WHERE {where} AND a.attname = %s",
            [*params, column],
        )
        return rows[0][0] if rows else None

    def type(self, name: str) -> tuple[int, int]:
        """OID and modifier of a type as the database reads its name."""
        with self.connection.cursor() as cursor:
            cursor.execute(f"SELECT NULL::{name}")
            result = cursor.pgresult
            return result.ftype(0), result.fmod(0)

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
        rows = self.rows(
            f"SELECT a.attname, a.attnum, k.conkey {CONSTRAINT_COLUMN} "
            f"WHERE {where} AND k.contype = 'p'",
            params,
        )
        return [
            name
            for name, number, key in sorted(rows, key=lambda row: row[2].index(row[1]))
        ]

    def checked_not_null(self, table: str) -> set[str]:
        """The columns that a validated CHECK keeps from being NULL."""
        where, params = self.relation(table)
        rows = self.rows(
            f"SELECT a.attname, k.conname, pg_get_constraintdef(k.oid) {CONSTRAINT_COLUMN} "
            f"WHERE {where} AND k.contype = 'c' AND k.convalidated",
            params,
        )
        return {
            column
            for column, name, definition in rows
            if _is_not_null(name, definition, column)
        }

    def definitions(self, table: str) -> list[str]:
        """Of its constraints without the primary key, whose text names every column."""
        where, params = self.relation(table)
        rows = self.rows(
            f"SELECT pg_get_constraintdef(k.oid) {CONSTRAINT} "
            f"WHERE {where} AND k.contype <> 'p'",
            params,
        )
        return sorted(definition for (definition,) in rows)

    def constraint(self, table: str, name: str) -> Constraint | None:
        where, params = self.relation(table)
        rows = self.rows(
            f"SELECT k.contype, k.convalidated, pg_get_constraintdef(k.oid) {CONSTRAINT} "
            f"WHERE {where} AND k.conname = %s",
            [*params, name],
        )
        return Constraint(*rows[0]) if rows else None

    def definition(self, table: str, name: str) -> str:
        """Of a constraint, valid or not; empty when it does not exist."""
        constraint = self.constraint(table, name)
        return (
            "" if constraint is None else constraint.definition.removesuffix(NOT_VALID)
        )

    def constraints(self, table: str) -> Constraints:
        where, params = self.relation(table)
        rows = self.rows(
            "SELECT k.conname, k.contype, k.convalidated, pg_get_constraintdef(k.oid), "
            f"a.attname {CONSTRAINT_OR_COLUMN} WHERE {where}",
            params,
        )
        columns: dict[str, set[Any]] = {}
        for name, *_, column in rows:
            columns.setdefault(name, set()).add(column)
        return Constraints({
            name: Constraint(kind, valid, definition, frozenset(columns[name] - {None}))
            for name, kind, valid, definition, _ in rows
        })  # fmt: skip

    def needed_by(self, table: str, column: str) -> list[str]:
        """Views and generated columns that name the column."""
        where, params = self.relation(table)
        # A view needs its rule, and its rule the column.
        rows = self.rows(
            f"SELECT 'view', v.relname {DEPENDENT} "
            "JOIN pg_depend r ON r.objid = d.objid AND r.classid = d.classid "
            "JOIN pg_class v ON v.oid = r.refobjid "
            f"WHERE {where} AND a.attname = %s AND v.relkind = 'v' AND r.deptype = 'i' "
            f"UNION SELECT 'generated column', g.attname {DEPENDENT} "
            "JOIN pg_attrdef f ON f.oid = d.objid "
            "JOIN pg_attribute g ON g.attrelid = f.adrelid AND g.attnum = f.adnum "
            f"WHERE {where} AND a.attname = %s AND g.attnum <> a.attnum AND g.attgenerated <> ''",
            [*params, column, *params, column],
        )
        views_first = sorted(rows, key=lambda row: (row[0] != "view", row[1]))
        return [f"{kind} {name}" for kind, name in views_first]

    def index(self, table: str, name: str) -> Index | None:
        """The index of that name in the table's schema, whatever table it is on."""
        # The table gives the schema; the name is the index's.
        where, (_, *schema) = self.relation(table, "x")
        indexes = self._indexes(where, [name, *schema])
        return indexes[0] if indexes else None

    def indexes(self, table: str) -> list[Index]:
        """The valid ones; a build that failed leaves one that is not."""
        where, params = self.relation(table)
        return self._indexes(f"{where} AND i.indisvalid", params)

    def invalid_indexes(self) -> list[tuple[str, str]]:
        """Name and table of every index of the schema that is not valid."""
        rows = self.rows(
            f"SELECT x.relname, c.relname {RELATION} JOIN pg_index i ON i.indrelid = c.oid "
            "JOIN pg_class x ON x.oid = i.indexrelid "
            "WHERE NOT i.indisvalid AND n.nspname = current_schema() ORDER BY x.relname"
        )
        return [(name, table) for name, table in rows]

    def active_job(self, index: Index) -> str | None:
        """The job that still builds the index, if any."""
        rows = self.rows(
            "SELECT job_id FROM sys.jobs WHERE status IN ('submitted', 'processing') "
            "AND job_type = 'INDEX_BUILD' AND object_id = %s",
            [index.oid],
        )
        return rows[0][0] if rows else None

    def column_names(self, relation: int) -> dict[int, str]:
        """The relation's columns by their number."""
        query = "SELECT attnum, attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0"
        return dict(self.rows(query, [relation]))

    def _indexes(self, condition: str, params: Sequence[str]) -> list[Index]:
        rows = self.rows(
            "SELECT x.oid, x.relname, c.relname, m.amname, x.reloptions, i.indisunique, "
            "i.indisprimary, i.indisvalid, i.indnullsnotdistinct, i.indpred IS NOT NULL, "
            "pg_get_indexdef(x.oid), k.contype, k.oid, k.condeferrable, k.condeferred, "
            f"c.oid, i.indnkeyatts, i.indkey, i.indoption {INDEX} "
            f"WHERE {condition} ORDER BY x.relname",
            params,
        )
        columns = {row[15]: self._columns_and_dependents(row[15]) for row in rows}
        return [_build_index(row, columns[row[15]]) for row in rows]

    def _columns_and_dependents(
        self, relation: int
    ) -> dict[int, tuple[str, frozenset[int]]]:
        """By the column's number its name and the OIDs of what depends on it."""
        rows = self.rows(
            "SELECT a.attnum, a.attname, d.objid FROM pg_attribute a LEFT JOIN pg_depend d "
            "ON d.refobjid = a.attrelid AND d.refobjsubid = a.attnum "
            "WHERE a.attrelid = %s AND a.attnum > 0",
            [relation],
        )
        names = {number: name for number, name, _ in rows}
        dependents: dict[int, set[int]] = {number: set() for number in names}
        for number, _, dependent in rows:
            if dependent is not None:
                dependents[number].add(dependent)
        return {n: (names[n], frozenset(dependents[n])) for n in names}

    def _quoted(self, name: str) -> str:
        return str(self.connection.ops.quote_name(name))


def _build_index(
    row: tuple[Any, ...], columns: dict[int, tuple[str, frozenset[int]]]
) -> Index:
    oid, constraint_oid, key_count = row[0], row[12], row[16]
    names: list[Any] = [columns.get(n, (None,))[0] for n in parse_numbers(row[17])]
    # What serves a constraint depends on that, and that on the column.
    uses = (
        name
        for name, dependents in columns.values()
        if {oid, constraint_oid} & dependents
    )
    return Index(  # type: ignore[call-arg]  # a slice of 13 columns
        *row[:13],
        DEFERRALS.get(row[13:15], ""),
        tuple(names[:key_count]),
        tuple(names[key_count:]),
        parse_numbers(row[18]),
        frozenset(uses),
    )


def parse_numbers(vector: str) -> tuple[int, ...]:
    """What int2vector holds, whose text is numbers with spaces between them."""
    return tuple(map(int, vector.split()))


def _is_not_null(name: str, definition: str, column: str) -> bool:
    """Whether the CHECK stands for NOT NULL; a name alone may end so by chance."""
    return name.endswith(NOT_NULL_SUFFIX) and is_same_text(
        definition.removesuffix(NOT_VALID), f"CHECK (({column} IS NOT NULL))"
    )
