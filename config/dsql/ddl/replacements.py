"""Replacements of a column's indexes and constraints, when another column takes its name."""

import json
import re
from dataclasses import dataclass

from . import sql
from .catalog import Catalog, Index
from .catalog import Constraints as TableConstraints
from .constraints import Constraints
from .indexes import Indexes
from .runner import Runner

# What a replacement's name ends with: an index, or a UNIQUE constraint with its deferral.
INDEX_SUFFIXES = {
    "__dsql_new": None,
    "__dsql_newu": "",
    "__dsql_newd": " DEFERRABLE INITIALLY DEFERRED",
    "__dsql_newi": " DEFERRABLE INITIALLY IMMEDIATE",
}
CONSTRAINT_SUFFIX = "__dsql_new"
# What the comment begins with that maps each replacement to its original.
ORIGINALS = "Originals of this column's replaced indexes and constraints: "


@dataclass(frozen=True, slots=True)
class Names:
    """Of a table and of the column in it whose type changes."""

    table: str
    column: str
    new: str  # of the column of the new type, until it takes the name
    old: str  # of the column of the old type, from then on


class Replacements:
    """A replacement stands beside its original until that is dropped, then takes its name."""

    def __init__(
        self,
        runner: Runner,
        catalog: Catalog,
        indexes: Indexes,
        constraints: Constraints,
        names: Names,
    ) -> None:
        self.runner, self.catalog = runner, catalog
        self.indexes, self.constraints = indexes, constraints
        self.names = names

    def build_plain_indexes(self) -> bool:
        """Build those of plain columns on the new column; whether there are any."""
        plain = [
            index
            for index in self.catalog.indexes(self.names.table)
            if self.names.column in index.uses
            and not (None in index.keys or index.partial or index.nulls_not_distinct)
        ]
        for index in plain:
            keys = [
                f"{self._quote_replaced(key)}{' NULLS FIRST' * first}"
                for key, first in zip(index.keys, index.nulls_first, strict=True)
            ]
            included = ", ".join(map(self._quote_replaced, index.included))
            include = f" INCLUDE ({included})" if included else ""
            name = _index_name(index)
            self._build(name, index.unique, f"({', '.join(keys)}){include}")
        return bool(plain)

    def find_missing(self, existing: TableConstraints, column: str) -> list[str]:
        """The constraints on the column that have no replacement on the new one."""
        replaced = existing.on(self.names.new)
        return [
            name
            for name in existing.on(column)
            if sql.mark_name(name, CONSTRAINT_SUFFIX) not in replaced
        ]

    def add_constraint(self, name: str, definition: str, column: str) -> str:
        """The action of ALTER TABLE that adds a constraint's replacement, NOT VALID."""
        body = self._renamed(definition.removesuffix(" NOT VALID"), column)
        replacement = sql.mark_name(name, CONSTRAINT_SUFFIX)
        return f"ADD CONSTRAINT {self._quote(replacement)} {body} NOT VALID"

    def adopt(self) -> None:
        """Drop the originals and give their names to the replacements.

        Continues wherever an interrupted run has stopped.
        """
        indexes = self.catalog.indexes(self.names.table)
        constraints = self.catalog.constraints(self.names.table)
        originals = self._record_originals(indexes, constraints)
        self._adopt_indexes(originals, indexes)
        self._adopt_constraints(originals, constraints)

    def _record_originals(
        self, indexes: list[Index], constraints: TableConstraints
    ) -> dict[str, str]:
        """The original of each replacement, by name.

        Recorded before an original is dropped, because a long name is cut to make a
        replacement's of it.
        """
        table, old = self.names.table, self.names.old
        comment = self.catalog.comment(table, old) or ""
        recorded: dict[str, str] = (
            json.loads(comment.removeprefix(ORIGINALS))
            if comment.startswith(ORIGINALS)
            else {}
        )
        originals = {
            **recorded,
            **{_index_name(each): each.name for each in indexes if old in each.uses},
            **{
                sql.mark_name(name, CONSTRAINT_SUFFIX): name
                for name in constraints.on(old)
            },
        }
        if originals != recorded:
            text = f"COMMENT ON COLUMN {self._quote(table)}.{self._quote(old)} IS %s"
            params = [ORIGINALS + json.dumps(originals)]
            self.runner.execute(self.runner.compose(text, params))
        return originals

    def _adopt_indexes(self, originals: dict[str, str], existing: list[Index]) -> None:
        table, column = self.names.table, self.names.column
        valid = {index.name for index in existing}
        replaced = [index for index in existing if self.names.old in index.uses]
        for index in replaced:
            replacement = _index_name(index)
            if replacement not in valid:
                rest = sql.INDEX_HEAD.sub("", index.definition)
                self._build(replacement, index.unique, self._renamed(rest, column))
            if index.constraint:
                self._alter(f"DROP CONSTRAINT {self._quote(index.name)}")
            else:
                self._drop_index(index.name)
        for index in self.catalog.indexes(table) if replaced else existing:
            if column in index.uses and index.name in originals:
                self._give_name(index, originals[index.name])

    def _give_name(self, replacement: Index, name: str) -> None:
        """Give it the original's name; an index cannot be renamed in DSQL."""
        deferral = next(
            (
                deferral
                for suffix, deferral in INDEX_SUFFIXES.items()
                if replacement.name.endswith(suffix)
            ),
            None,
        )
        if deferral is not None:
            self._alter(
                f"ADD CONSTRAINT {self._quote(name)} UNIQUE "
                f"USING INDEX {self._quote(replacement.name)}{deferral}"
            )
            return
        rest = sql.INDEX_HEAD.sub("", replacement.definition)
        self._build(name, replacement.unique, rest)
        self._drop_index(replacement.name)

    def _adopt_constraints(
        self, originals: dict[str, str], existing: TableConstraints
    ) -> None:
        table, column = self.names.table, self.names.column
        replaced = existing.on(self.names.old)
        # Rows may break them: what is not valid was never checked.
        not_valid = set()
        for name, original in replaced.items():
            replacement = sql.mark_name(name, CONSTRAINT_SUFFIX)
            if replacement not in existing:
                self._alter(self.add_constraint(name, original.definition, column))
            if not original.valid:
                not_valid.add(replacement)
            # Not after the validation: the original finds no value in its column.
            self._alter(f"DROP CONSTRAINT {self._quote(name)}")
        current = self.catalog.constraints(table) if replaced else existing
        for replacement in current.on(column):
            if replacement in originals:
                if replacement not in not_valid:
                    self.constraints.validate(table, replacement)
                original_name = self._quote(originals[replacement])
                self._alter(
                    f"RENAME CONSTRAINT {self._quote(replacement)} TO {original_name}"
                )

    def _build(self, name: str, unique: bool, rest: str) -> None:
        table = self.names.table
        self.indexes.build(
            f"CREATE {'UNIQUE ' * unique}INDEX ASYNC {self._quote(name)} "
            f"ON {self._quote(table)} {rest}",
            name,
            table,
        )

    def _drop_index(self, name: str) -> None:
        self.runner.execute(f"DROP INDEX {self._quote(name)}")

    def _alter(self, action: str) -> None:
        self.runner.execute(f"ALTER TABLE {self._quote(self.names.table)} {action}")

    def _quote_replaced(self, column: str | None) -> str:
        """The column's quoted name; the new one for the one that is replaced."""
        is_replaced = column == self.names.column
        return self._quote(self.names.new if is_replaced else str(column))

    def _renamed(self, definition: str, column: str) -> str:
        """The text with another name of the column; the old one occurs nowhere else."""
        old = re.escape(self.names.old)
        return re.sub(f'"?{old}"?', lambda _: self._quote(column), definition)

    def _quote(self, name: str) -> str:
        return str(self.runner.connection.ops.quote_name(name))


def _index_name(index: Index) -> str:
    """The name of an index's replacement, which says what it will serve."""
    suffix = "__dsql_new"
    if index.constraint:
        suffix = next(
            suffix
            for suffix, deferral in INDEX_SUFFIXES.items()
            if deferral == index.deferral
        )
    return sql.mark_name(index.name, suffix)
