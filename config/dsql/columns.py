"""Changes to every row of a table, and the change of a column's type."""

import logging
import re
import time
from collections.abc import Sequence
from typing import Any

from django.db import DataError, IntegrityError, OperationalError
from django.db.backends.utils import truncate_name

from config.dsql.catalog import NOT_NULL_SUFFIX, Catalog, Index
from config.dsql.conflicts import sqlstates
from config.dsql.retry import ConflictRetriesExhausted, run_statement

logger = logging.getLogger(__name__)
BATCH = 1000  # rows; DSQL takes 3,000 per transaction, and rows may be added meanwhile
ROW_LIMIT = "54000"
REPORT_EVERY = 10.0  # seconds between two lines about a copy that still runs
CALM = 100  # rows a pass may change before the column changes hands
PASSES = 5  # looks at the table before the columns change hands in any case
NAME_LENGTH = 63
# A cast to a length cuts the value without a word; an assignment refuses it. So values
# are cast to the type without its length, and assigned. "char" alone has the length 1.
WITHOUT_LENGTH = {
    "char": "bpchar",
    "character": "bpchar",
    "nchar": "bpchar",
    "varchar": "varchar",
    "character varying": "varchar",
}
# What a twin's name ends with: an index, or a UNIQUE constraint with its deferral.
TWINS = {
    "__twin": None,
    "__twinu": "",
    "__twind": " DEFERRABLE INITIALLY DEFERRED",
    "__twini": " DEFERRABLE INITIALLY IMMEDIATE",
}
CONSTRAINT_TWIN = "__twin"
GUARD = "__dsql_guard"
INDEX_HEAD = re.compile(r'CREATE (UNIQUE )?INDEX .*? ON .*? USING "?\w+"? ', re.DOTALL)


def uncut(db_type: str) -> str:
    """What a value is cast to before it is assigned to a column of the type."""
    name = db_type.partition("(")[0].strip().lower()
    return WITHOUT_LENGTH.get(name, db_type)


def marked(name: str, mark: str) -> str:
    return f"{truncate_name(name, NAME_LENGTH - len(mark))}{mark}"


class Rows:
    """A table's rows, changed in the order of its key, each batch a transaction."""

    def __init__(self, catalog: Catalog, table: str, key: Sequence[str]) -> None:
        quote = catalog.connection.ops.quote_name
        self.catalog = catalog
        self.table, self.shown = quote(table), table
        self.key = ", ".join(quote(column) for column in key)
        self.places = ", ".join("%s" for _ in key)

    def update(self, assignment: str, condition: str) -> int:
        """How many rows were changed. Both texts are SQL, values included.

        Safe to run again: the condition must be false for a row that was changed.
        Raises ConflictRetriesExhausted when a single row cannot be written for the
        policy's budget.
        """
        sql = f"UPDATE {self.table} SET {assignment} WHERE ({condition})".replace(
            "%", "%%"
        )
        changed, last, size = 0, None, BATCH
        started = reported = time.monotonic()
        while True:
            upto = self._key_at(size, last)
            try:
                changed += self._run(sql, last, upto)
            except ConflictRetriesExhausted:
                if size == 1:
                    raise
                size = max(1, size // 10)
                continue
            if upto is None:
                return changed
            last = upto
            if time.monotonic() - reported >= REPORT_EVERY:
                reported = time.monotonic()
                logger.warning(
                    "Still writing %s: %d rows changed in %.0f s, at key %s.",
                    self.shown, changed, reported - started, last,
                )  # fmt: skip

    def _key_at(self, size: int, last: Any) -> Any:
        after = f"WHERE ({self.key}) > ({self.places})" if last else ""
        found = self.catalog.rows(
            f"SELECT {self.key} FROM {self.table} {after} "
            f"ORDER BY {self.key} LIMIT 1 OFFSET {size - 1}",
            last or (),
        )
        return found[0] if found else None

    def _run(self, sql: str, last: Any, upto: Any) -> int:
        params: list[Any] = []
        for operator, bound in ((">", last), ("<=", upto)):
            if bound:
                sql += f" AND ({self.key}) {operator} ({self.places})"
                params += bound

        def work() -> int:
            with self.catalog.connection.cursor() as cursor:
                cursor.execute(sql, params or [])
                return int(cursor.rowcount)

        return run_statement(work, using=self.catalog.connection.alias)


class TypeChange:
    """Give a column another type, which DSQL's ALTER TABLE cannot.

    1.  The caller has refused what cannot be done and dropped foreign keys to the column.
    2.  Add a column of the new type under a name of its own (``<name>__dsql_new``).
    3.  Copy the values in batches; repeat until a pass changes few rows.
    4.  Build a twin of every index of plain columns on the new column and wait for it,
        so that uniqueness holds from the moment the columns change hands.
    5.  Replace NOT NULL by a guard that wants a value in either column.
    6.  Rename the old column away (``<name>__dsql_old``). From here until step 8
        statements that name the column fail.
    7.  Copy what changed since.
    8.  Rename the new column to the name. The time since step 6 is printed.
    9.  Make twins of the remaining indexes, checks and foreign keys, and let each twin
        take the name of its original: a constraint is renamed, an index built again.
    10. Drop the old column.

    Run again after any interruption it continues: the catalog shows which of the three
    columns exist. An error of the data before step 8 leaves the column as it was.
    """

    def __init__(
        self, editor: Any, model: Any, column: str, new_type: str, default: str
    ) -> None:
        self.editor, self.catalog = editor, editor.catalog
        self.table, self.column = model._meta.db_table, column
        self.new_type, self.default = new_type, default
        self.cast = uncut(new_type)
        self.new, self.old = marked(column, "__dsql_new"), marked(column, "__dsql_old")
        self.key = [field.column for field in model._meta.pk_fields]
        self.rows = Rows(self.catalog, self.table, self.key)

    def run(self) -> None:
        columns = self.catalog.columns(self.table)
        if self.editor.collect_sql:
            self._show()
            return
        if self.column in columns and self.old not in columns:
            (wanted,) = self.catalog.types([self.new_type])
            if columns[self.column].type == wanted:
                return
            self._prepare(columns, wanted)
            self._rename(self.column, self.old, self._change_hands)
        elif self.new in columns:
            self._change_hands(time.monotonic())
        self._take_over()
        self._alter(f"DROP COLUMN {self._quote(self.old)}")

    def _prepare(self, columns: Any, wanted: Any) -> None:
        if self.new in columns and columns[self.new].type != wanted:
            self._alter(f"DROP COLUMN {self._quote(self.new)}")
            columns.pop(self.new)
        try:
            if self.new not in columns:
                self._alter(f"ADD COLUMN {self._quote(self.new)} {self.new_type}")
            if self.default:
                self._alter(
                    f"ALTER COLUMN {self._quote(self.new)} SET DEFAULT {self.default}"
                )
            self._copy_until_calm()
            self._build_plain_twins()
            self._copy_until_calm()
        except (DataError, IntegrityError):
            self._alter(f"DROP COLUMN {self._quote(self.new)}")
            raise
        self._guard(columns)

    def _copy(self, source: str) -> int:
        new, old = self._quote(self.new), self._quote(source)
        return self.rows.update(
            f"{new} = {old}::{self.cast}", f"{new} IS DISTINCT FROM {old}::{self.cast}"
        )

    def _copy_until_calm(self) -> None:
        for _ in range(PASSES):
            if self._copy_ordered(self.column) <= CALM:
                return

    def _copy_ordered(self, source: str) -> int:
        """As _copy; values that wander between rows of a unique column are parked."""
        try:
            return self._copy(source)
        except IntegrityError:
            new, old = self._quote(self.new), self._quote(source)
            self.rows.update(
                f"{new} = NULL",
                f"{new} IS NOT NULL AND {new} IS DISTINCT FROM {old}::{self.cast}",
            )
            return self._copy(source)

    def _guard(self, columns: Any) -> None:
        checks = self.catalog.not_null_checks(self.table, self.column)
        if not (columns[self.column].not_null or checks):
            return
        guard = marked(self.column, GUARD)
        new, old = self._quote(self.new), self._quote(self.column)
        check = f"CHECK ({old} IS NOT NULL OR {new} IS NOT NULL) NOT VALID"
        if self.catalog.constraint(self.table, guard) is None:
            self._alter(f"ADD CONSTRAINT {self._quote(guard)} {check}")
        self.editor.drop_not_null(self.table, self.column)

    def _rename(self, name: str, to: str, then: Any) -> None:
        began = time.monotonic()
        self._alter(f"RENAME COLUMN {self._quote(name)} TO {self._quote(to)}")
        then(began)

    def _change_hands(self, began: float) -> None:
        try:
            self._copy_rest()
        except (DataError, IntegrityError):
            self._alter(
                f"RENAME COLUMN {self._quote(self.old)} TO {self._quote(self.column)}"
            )
            raise
        self._alter(
            f"RENAME COLUMN {self._quote(self.new)} TO {self._quote(self.column)}"
        )
        logger.warning(
            "%s.%s has its new type; statements that name it could fail for %.0f ms.",
            self.table, self.column, (time.monotonic() - began) * 1000,
        )  # fmt: skip

    def _copy_rest(self) -> None:
        """One statement when the few rows allow it, to keep the column away shortly."""
        new, old = self._quote(self.new), self._quote(self.old)
        sql = (
            f"UPDATE {self._quote(self.table)} SET {new} = {old}::{self.cast} "
            f"WHERE {new} IS DISTINCT FROM {old}::{self.cast}"
        )
        try:
            self.editor.execute(sql, None)
        except (IntegrityError, OperationalError) as error:
            if isinstance(error, OperationalError) and ROW_LIMIT not in sqlstates(
                error
            ):
                raise
            self._copy_ordered(self.old)

    def _build_plain_twins(self) -> None:
        quoted = {self._quote(self.column), self.column}
        for index in self.catalog.indexes_on(self.table, self.column):
            if None in index.keys or index.partial or index.nulls_not_distinct:
                continue
            new = self._quote(self.new)
            names = [
                [new if c in quoted else c for c in part]
                for part in (index.keys, index.included)
            ]
            include = f" INCLUDE ({', '.join(names[1])})" if names[1] else ""
            self._build(index, f"({', '.join(names[0])}){include}")

    def _build(self, index: Index, rest: str) -> str:
        twin = self._twin(index)
        unique = "UNIQUE " if index.unique else ""
        self.editor.build_index(
            f"CREATE {unique}INDEX ASYNC {self._quote(twin)} ON {self._quote(self.table)} {rest}",
            twin,
            self.table,
        )
        return twin

    @staticmethod
    def _twin(index: Index) -> str:
        suffix = "__twin"
        if index.constraint:
            suffix = next(
                s for s, deferral in TWINS.items() if deferral == index.deferral
            )
        return marked(index.name, suffix)

    def _take_over(self) -> None:
        self._take_over_indexes()
        for name, constraint in self.catalog.constraints_on(
            self.table, self.old
        ).items():
            if not name.endswith((GUARD, NOT_NULL_SUFFIX)):
                self._twin_constraint(name, constraint.definition)
        for name in self.catalog.constraints_on(self.table, self.column):
            if name.endswith(CONSTRAINT_TWIN):  # its original was dropped, then the run
                self._name_constraint(name, name.removesuffix(CONSTRAINT_TWIN))

    def _take_over_indexes(self) -> None:
        names = {}
        for index in self.catalog.indexes_on(self.table, self.old):
            names[self._twin(index)] = index.name
            if self.catalog.index(self.table, self._twin(index)) is None:
                self._build(index, self._renamed(INDEX_HEAD.sub("", index.definition)))
            if index.constraint:
                self._alter(f"DROP CONSTRAINT {self._quote(index.name)}")
            else:
                self._drop_index(index.name)
        for index in self.catalog.indexes_on(self.table, self.column):
            for suffix, deferral in TWINS.items():
                if index.name.endswith(suffix):
                    # A run that drops the original and is killed leaves the twin's name.
                    name = names.get(index.name, index.name.removesuffix(suffix))
                    self._settle(index, name, deferral)

    def _settle(self, twin: Index, name: str, deferral: str | None) -> None:
        """Give the original's name to its twin; an index cannot be renamed in DSQL."""
        if deferral is not None:
            self._alter(
                f"ADD CONSTRAINT {self._quote(name)} UNIQUE "
                f"USING INDEX {self._quote(twin.name)}{deferral}"
            )
            return
        unique = "UNIQUE " if twin.unique else ""
        rest = INDEX_HEAD.sub("", twin.definition)
        self.editor.build_index(
            f"CREATE {unique}INDEX ASYNC {self._quote(name)} ON {self._quote(self.table)} {rest}",
            name,
            self.table,
        )
        self._drop_index(twin.name)

    def _drop_index(self, name: str) -> None:
        self.editor.execute(f"DROP INDEX {self._quote(name)}", None)

    def _twin_constraint(self, name: str, definition: str) -> None:
        twin = marked(name, CONSTRAINT_TWIN)
        if self.catalog.constraint(self.table, twin) is None:
            body = self._renamed(definition.removesuffix(" NOT VALID"))
            self._alter(f"ADD CONSTRAINT {self._quote(twin)} {body} NOT VALID")
        self.editor.validate(self.table, twin)
        self._alter(f"DROP CONSTRAINT {self._quote(name)}")
        self._name_constraint(twin, name)

    def _name_constraint(self, twin: str, name: str) -> None:
        self._alter(f"RENAME CONSTRAINT {self._quote(twin)} TO {self._quote(name)}")

    def _renamed(self, definition: str) -> str:
        """The text with the column's own name; the marked name occurs nowhere else."""
        return re.sub(
            f'"?{re.escape(self.old)}"?', lambda _: self._quote(self.column), definition
        )

    def _show(self) -> None:
        """What sqlmigrate prints."""
        new, old, column = (self._quote(n) for n in (self.new, self.old, self.column))
        table = self._quote(self.table)
        self._alter(f"ADD COLUMN {new} {self.new_type}")
        copy = (
            f"UPDATE {table} SET {new} = {column}::{self.cast} "
            f"WHERE {new} IS DISTINCT FROM {column}::{self.cast}"
        )
        self.editor.note(
            f"in batches of {BATCH} rows by primary key, until none is left:"
        )
        self.editor.execute(copy, None)
        self.editor.note(
            "build the column's indexes on the new column and wait for them;"
        )
        self._alter(f"RENAME COLUMN {column} TO {old}")
        self.editor.note("the rows that were written since:")
        self.editor.execute(
            copy.replace(f"= {column}::", f"= {old}::").replace(
                f"FROM {column}::", f"FROM {old}::"
            ),
            None,
        )
        self._alter(f"RENAME COLUMN {new} TO {column}")
        self.editor.note(
            "let the new indexes and constraints take the names of the old;"
        )
        self._alter(f"DROP COLUMN {old}")

    def _alter(self, action: str) -> None:
        self.editor.execute(f"ALTER TABLE {self._quote(self.table)} {action}", None)

    def _quote(self, name: str) -> str:
        return str(self.editor.quote_name(name))
