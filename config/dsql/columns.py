"""The change of a column's type."""

import json
import logging
import re
import time
from typing import Any

from django.db import (
    DataError,
    IntegrityError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)
from django.db.backends.utils import truncate_name

from config.dsql.catalog import Catalog, Constraint, Index
from config.dsql.conflicts import sqlstates
from config.dsql.rows import BATCH, ROW_LIMIT, Rows

logger = logging.getLogger(__name__)
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
NAMES = "Twins of this column's indexes and constraints: "  # what a comment begins with
# Errors that would come again: the change is given up.
HOPELESS = (DataError, IntegrityError, NotSupportedError, ProgrammingError)
INDEX_HEAD = re.compile(r'CREATE (UNIQUE )?INDEX .*? ON .*? USING "?\w+"? ', re.DOTALL)


def uncut(db_type: str) -> str:
    """What a value is cast to before it is assigned to a column of the type."""
    name = db_type.partition("(")[0].strip().lower()
    return WITHOUT_LENGTH.get(name, db_type)


def marked(name: str, mark: str) -> str:
    return f"{truncate_name(name, NAME_LENGTH - len(mark))}{mark}"


class TypeChange:
    """Give a column another type, which DSQL's ALTER TABLE cannot.

    1.  The caller has refused what cannot be done and dropped foreign keys to the column.
    2.  Add a column of the new type under a name of its own (``<name>__dsql_new``).
    3.  Copy the values in batches; repeat until a pass changes few rows.
    4.  Build a twin of every index of plain columns on the new column and wait for it,
        so that uniqueness holds from the moment the columns change hands.
    5.  Rename the old column away (``<name>__dsql_old``). From here until step 8
        statements that name the column fail.
    6.  Copy what changed since.
    7.  Move NOT NULL to the new column, as a CHECK, and add twins of the checks and
        foreign keys to it, all NOT VALID: they hold for what is written. Not earlier,
        because until now the new column has no values of the rows that come.
    8.  Rename the new column to the name. The time since step 5 is printed.
    9.  Note on the old column, as a comment, which twin stands for what.
    10. Make twins of the remaining indexes and drop the originals of all. Validate, and
        let each twin take the name of its original: a constraint is renamed, an index
        built again.
    11. Drop the old column.

    Run again after any interruption it continues: the catalog shows which of the three
    columns exist. An error in steps 5 to 8 gives the name back to the old column. One of
    the data, or of a constraint that the type does not allow, also drops the new column:
    the column is as it was.
    """

    def __init__(
        self, editor: Any, model: Any, column: str, new_type: str, default: str
    ) -> None:
        self.editor = editor
        self.catalog: Catalog = editor.catalog
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
        try:
            if self.column in columns and self.old not in columns:
                (wanted,) = self.catalog.types([self.new_type])
                if columns[self.column].type == wanted:
                    return
                self._prepare(columns, wanted)
                self._change_hands(self.column)
            elif self.new in columns:
                self._change_hands(self.old)
        except HOPELESS:
            self._give_up()
            raise
        self._take_over()
        self._alter(f"DROP COLUMN {self._quote(self.old)}")

    def _prepare(self, columns: Any, wanted: Any) -> None:
        if self.new in columns and columns[self.new].type != wanted:
            self._alter(f"DROP COLUMN {self._quote(self.new)}")
            columns.pop(self.new)
        if self.new not in columns:
            self._alter(f"ADD COLUMN {self._quote(self.new)} {self.new_type}")
        if self.default:
            self._alter(
                f"ALTER COLUMN {self._quote(self.new)} SET DEFAULT {self.default}"
            )
        self._copy_until_calm()
        self._build_plain_twins()
        self._copy_until_calm()

    def _give_up(self) -> None:
        if self.column in self.catalog.columns(self.table):
            # Its indexes and constraints go with it.
            self._alter(f"DROP COLUMN IF EXISTS {self._quote(self.new)}")

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

    def _change_hands(self, current: str) -> None:
        """``current`` is the name that the old column has now."""
        moved = self._not_null_moved(current)
        twins = self._twins_wanted(current, moved)
        began = time.monotonic()
        try:
            if current == self.column:
                self._rename(self.column, self.old)
            self._copy_rest()
            self._hold(moved, twins)
            self._rename(self.new, self.column)
        except BaseException:  # also that of Ctrl-C: nobody can use the column
            self._hand_back()
            raise
        logger.warning(
            "%s.%s has its new type; statements that name it could fail for %.0f ms.",
            self.table, self.column, (time.monotonic() - began) * 1000,
        )  # fmt: skip

    def _not_null_moved(self, current: str) -> list[str]:
        """How NOT NULL is taken from the old column and given to the new."""
        old, new = self._quote(self.old), self._quote(self.new)
        actions = [
            self._drop(name)
            for name in self.catalog.not_null_checks(self.table, current)
        ]
        if self.catalog.columns(self.table)[current].not_null:
            actions.append(f"ALTER COLUMN {old} DROP NOT NULL")
        if actions:
            actions.append(self._not_null(new))
        return actions

    def _not_null(self, quoted: str) -> str:
        name = self.editor.free_not_null_name(self.table, self.column)
        check = f"CHECK ({quoted} IS NOT NULL) NOT VALID"
        return f"ADD CONSTRAINT {self._quote(name)} {check}"

    def _twins_wanted(self, current: str, moved: list[str]) -> set[str]:
        """The old column's constraints that have no twin yet."""
        held = self.catalog.constraints_on(self.table, self.new)
        return {
            name
            for name in self.catalog.constraints_on(self.table, current)
            if marked(name, CONSTRAINT_TWIN) not in held
            and self._drop(name) not in moved
        }

    def _hold(self, moved: list[str], twins: set[str]) -> None:
        """Let the new column's constraints hold, by one statement: time is short."""
        # Only now do their texts have a name of the column that occurs nowhere else.
        originals = self._originals() if twins else {}
        actions = moved + [
            self._twin_of(name, original.definition, self.new)
            for name, original in originals.items()
            if name in twins
        ]
        if actions:
            self._alter(", ".join(actions))

    def _hand_back(self) -> None:
        if self.column in self.catalog.columns(self.table):
            return
        # What holds for the new column would refuse rows that it has no value of.
        held = self.catalog.constraints_on(self.table, self.new)
        actions = [self._drop(name) for name in held]
        if self.catalog.not_null_checks(self.table, self.new):
            actions.append(self._not_null(self._quote(self.old)))
        if actions:
            self._alter(", ".join(actions))
        self._rename(self.old, self.column)

    def _rename(self, name: str, to: str) -> None:
        self._alter(f"RENAME COLUMN {self._quote(name)} TO {self._quote(to)}")

    def _originals(self) -> dict[str, Constraint]:
        return self.catalog.constraints_on(self.table, self.old)

    def _twin_of(self, name: str, definition: str, column: str) -> str:
        body = self._renamed(definition.removesuffix(" NOT VALID"), column)
        twin = marked(name, CONSTRAINT_TWIN)
        return f"ADD CONSTRAINT {self._quote(twin)} {body} NOT VALID"

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
        for index in self.catalog.indexes_on(self.table, self.column):
            if None in index.keys or index.partial or index.nulls_not_distinct:
                continue
            keys = [
                f"{self._quote_replaced(key)}{' NULLS FIRST' * first}"
                for key, first in zip(index.keys, index.nulls_first, strict=True)
            ]
            included = ", ".join(map(self._quote_replaced, index.included))
            include = f" INCLUDE ({included})" if included else ""
            self._build(index, f"({', '.join(keys)}){include}")

    def _quote_replaced(self, column: str | None) -> str:
        """The column's quoted name; the new one for the one that is replaced."""
        return self._quote(self.new if column == self.column else str(column))

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
        names = self._names()
        self._take_over_indexes(names)
        self._take_over_constraints(names)

    def _names(self) -> dict[str, str]:
        """The name each twin shall have.

        Written down before an original is dropped, because a long name is cut to make
        a twin's of it.
        """
        comment = self.catalog.comment(self.table, self.old) or ""
        known = (
            json.loads(comment.removeprefix(NAMES)) if comment.startswith(NAMES) else {}
        )
        indexes = self.catalog.indexes_on(self.table, self.old)
        names = {
            **known,
            **{self._twin(index): index.name for index in indexes},
            **{marked(name, CONSTRAINT_TWIN): name for name in self._originals()},
        }
        if names != known:
            self.editor.execute(
                f"COMMENT ON COLUMN {self._quote(self.table)}.{self._quote(self.old)} IS %s",
                [NAMES + json.dumps(names)],
            )
        return names

    def _take_over_indexes(self, names: dict[str, str]) -> None:
        for index in self.catalog.indexes_on(self.table, self.old):
            if self.catalog.index(self.table, self._twin(index)) is None:
                rest = INDEX_HEAD.sub("", index.definition)
                self._build(index, self._renamed(rest, self.column))
            if index.constraint:
                self._alter(self._drop(index.name))
            else:
                self._drop_index(index.name)
        for index in self.catalog.indexes_on(self.table, self.column):
            if index.name in names:
                deferral = next(
                    deferral
                    for suffix, deferral in TWINS.items()
                    if index.name.endswith(suffix)
                )
                self._settle(index, names[index.name], deferral)

    def _take_over_constraints(self, names: dict[str, str]) -> None:
        broken = set()  # may be: what is not valid has not been asked of the rows
        for name, original in self._originals().items():
            twin = marked(name, CONSTRAINT_TWIN)
            if self.catalog.constraint(self.table, twin) is None:
                self._alter(self._twin_of(name, original.definition, self.column))
            if not original.valid:
                broken.add(twin)
            # Not after the validation: the original finds no value in its column.
            self._alter(self._drop(name))
        for twin in self.catalog.constraints_on(self.table, self.column):
            if twin in names:
                if twin not in broken:
                    self.editor.validate(self.table, twin)
                self._alter(
                    f"RENAME CONSTRAINT {self._quote(twin)} TO {self._quote(names[twin])}"
                )

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

    def _drop(self, constraint: str) -> str:
        return f"DROP CONSTRAINT {self._quote(constraint)}"

    def _drop_index(self, name: str) -> None:
        self.editor.execute(f"DROP INDEX {self._quote(name)}", None)

    def _renamed(self, definition: str, column: str) -> str:
        """The text with another name of the column; the old one occurs nowhere else."""
        return re.sub(
            f'"?{re.escape(self.old)}"?', lambda _: self._quote(column), definition
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
        self.editor.note("let the column's constraints hold for the new column;")
        self._alter(f"RENAME COLUMN {new} TO {column}")
        self.editor.note(
            "let the new indexes and constraints take the names of the old;"
        )
        self._alter(f"DROP COLUMN {old}")

    def _alter(self, action: str) -> None:
        self.editor.execute(f"ALTER TABLE {self._quote(self.table)} {action}", None)

    def _quote(self, name: str) -> str:
        return str(self.editor.quote_name(name))
