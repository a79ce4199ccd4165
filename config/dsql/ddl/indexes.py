"""Indexes: built in the background, without order and operator class."""

import logging
import re

from django.db import (
    DatabaseError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from django.db.backends.ddl_references import Columns
from django.db.backends.utils import split_identifier
from django.db.models.expressions import OrderBy
from django.db.models.functions import Collate

from config.dsql.catalog import same_text
from config.dsql.columns import INDEX_HEAD
from config.dsql.conflicts import sqlstates
from config.dsql.ddl.statements import DUPLICATE_TABLE, step
from config.dsql.ddl.tables import PROBE, Tables

logger = logging.getLogger(__name__)
NAME = r'(?:"(?:[^"]|"")+"|\w+)'
INDEX_STATEMENT = re.compile(
    rf"\s*CREATE (?:UNIQUE )?INDEX ASYNC (?:IF NOT EXISTS )?"
    rf"(?P<name>{NAME}) ON (?P<table>(?:{NAME}\.)?{NAME})",
    re.IGNORECASE,
)
KEY_ORDER = re.compile(r" NULLS (?:FIRST|LAST)\b")
# Operator classes that order and compare as the default does under the C collation.
HARMLESS_OPCLASSES = {
    "", "varchar_pattern_ops", "text_pattern_ops", "bpchar_pattern_ops", "varchar_ops",
    "text_ops", "bpchar_ops", "int2_ops", "int4_ops", "int8_ops", "numeric_ops",
    "float4_ops", "float8_ops", "date_ops", "time_ops", "timestamp_ops",
    "timestamptz_ops", "interval_ops", "uuid_ops", "bool_ops", "bytea_ops",
}  # fmt: skip


class KeyOrder(OrderBy):
    """An index key without ASC or DESC, which DSQL refuses: it scans both ways."""

    template = "%(expression)s"


class Indexes(Tables):
    def _add_index(self, statement):
        text, name = str(statement), self._unquoted(statement.parts["name"])
        table = statement.parts["table"].table
        if self._builds is None or statement.template != self.sql_create_index:
            self.build_index(text, name, table, statement)
        elif (job := self._start_index(text, name, table)) is not None:
            self._builds.append((job, statement, name, table))

    def build_index(self, text, name, table, statement=None):
        """Build an index and wait for it; nothing to do when it is there and valid."""
        job = self._start_index(text, name, table)
        if job is not None:
            self._await_index(job, statement or text, name, table)

    def _start_index(self, text, name, table):
        """The job that builds the index; None when there is nothing to wait for.

        1. Submit the statement.
        2. If the name is taken, by no index or by another one: error.
        3. If it is a valid index, it is done.
        4. If a job still builds it, wait for that job.
        5. Otherwise an earlier build failed: drop what it left and start again.
        """
        if self.collect_sql:
            super().execute(text, None)
            self.note("wait for the job: CALL sys.wait_for_job('<job_id>')")
            return None
        if self.connection.in_atomic_block:
            self._execute(text)
        try:
            return self._run(text)
        except DatabaseError as error:
            if DUPLICATE_TABLE not in sqlstates(error):
                self._explain(error, text)
                raise
            found = self.catalog.index(table, name)
            if found is None:
                raise
        job = None if found.valid else self.catalog.active_job(found)
        if found.valid or job is not None or found.table != self._relation(table):
            self._refuse_different_index(found, table, text)
            return job
        self._drop_invalid(table, name)
        return self._run(text)

    def _refuse_different_index(self, found, table, text):
        """Raise ProgrammingError unless the statement would build the index that exists."""
        wanted = (self._relation(table), text.split()[1].upper() == "UNIQUE")
        body = INDEX_HEAD.sub("", found.definition)
        rest = INDEX_STATEMENT.sub("", text, count=1).strip()
        if (found.table, found.unique) == wanted and (
            same_text(body, rest) or body == self._printed_index(table, rest)
        ):
            return
        raise ProgrammingError(
            f"An index of the name exists already, {found.definition}, and it is not: {text}"
        )

    def _printed_index(self, table, rest):
        name = f"{PROBE}_index"
        made = self._as_made(
            lambda: self.catalog.index(PROBE, name),
            self._without_rows(table),
            f"CREATE INDEX ASYNC {name} ON {PROBE} {rest}",
        )
        return INDEX_HEAD.sub("", made.definition)

    def _await_index(self, job, statement, name, table):
        status, details = self._await_job(job, str(statement))
        found = self.catalog.index(table, name)
        if found is not None and found.valid:
            return
        # DSQL keeps an invalid index; without it the migration can be run again.
        self._drop_invalid(table, name)
        raise IntegrityError(
            f"Index {name} could not be built ({details or status}) and was dropped."
            f"{self._duplicates(statement)} Correct the rows, then migrate again. "
            f"Statement: {statement}"
        )

    def _drop_invalid(self, table, name):
        schema, _ = split_identifier(self.quote_name(table))
        qualified = ".".join(self.quote_name(part) for part in (schema, name) if part)
        self._execute(f"DROP INDEX IF EXISTS {qualified}")

    def rename_index(self, model, old_index, new_index):
        # By keyword: a step is not known by what an interrupted run may have dropped.
        self._replace_index(model, new_index, old_index=old_index)

    @step
    def _replace_index(self, model, new_index, *, old_index):
        """An index cannot be renamed: build the new one, then drop the old one."""
        self.add_index(model, new_index)
        self.remove_index(model, old_index)

    def _constraint_names(self, model, column_names=None, **which):
        """Without what a RenameIndex has made, when it asks for the index to rename.

        It wants one: where an interrupted run has dropped it, the name it must have had.
        """
        names = super()._constraint_names(model, column_names, **which)
        if which != {"index": True, "unique": False}:
            return names
        made = {
            operation.new_name
            for migration, _ in self.connection.migration_plan
            for operation in migration.operations
            if getattr(operation, "old_fields", None)
        }
        old = [name for name in names if name not in made]
        resumed = self._journal is not None and bool(self._journal.done)
        if old or not (names or resumed):
            return old
        return [self._create_index_name(model._meta.db_table, column_names, "_idx")]

    def _duplicates(self, statement):
        """Some of the keys that stand twice, as a sentence."""
        parts = getattr(statement, "parts", None)
        if parts is None or "UNIQUE" not in statement.template:
            return ""
        columns = KEY_ORDER.sub("", str(parts["columns"]))
        condition = parts.get("condition", "")
        found = self.catalog.rows(
            f"SELECT {columns}, count(*) FROM {parts['table']}{condition} "
            f"GROUP BY {columns} HAVING count(*) > 1 LIMIT 3"
        )
        shown = "; ".join(f"{key} ({count} times)" for *key, count in found)
        return f" Duplicates: {shown}." if shown else ""

    def _explain(self, error, text):
        if isinstance(error, IntegrityError):
            logger.warning(
                "The index cannot be built, duplicates stand in its way: %s", text
            )

    def _create_index_sql(
        self, model, *, using="", expressions=None, opclasses=(), **kwargs
    ):
        """Raises NotSupportedError for an index that DSQL cannot replace with its own."""
        method = using.replace("USING", "").strip()
        if method not in ("", "btree"):
            raise NotSupportedError(
                f"DSQL has one kind of index and no {method} indexes; remove it from "
                f"{model._meta.label} or use django.db.models.Index."
            )
        return super()._create_index_sql(
            model,
            expressions=self._keys(model, expressions),
            opclasses=self._opclasses(model, opclasses),
            **kwargs,
        )

    def _create_unique_sql(
        self, model, fields, *args, expressions=None, opclasses=None, **kwargs
    ):
        return super()._create_unique_sql(
            model,
            fields,
            *args,
            expressions=self._keys(model, expressions),
            opclasses=self._opclasses(model, opclasses or ()),
            **kwargs,
        )

    def _delete_unique_sql(self, model, name, *args, opclasses=None, **kwargs):
        # Made without them, it is a constraint.
        return super()._delete_unique_sql(model, name, *args, **kwargs)

    @staticmethod
    def _opclasses(model, opclasses):
        refused = {name.lower() for name in opclasses} - HARMLESS_OPCLASSES
        if refused:
            raise NotSupportedError(
                f"DSQL has no operator classes; {', '.join(sorted(refused))} of an index of "
                f"{model._meta.label} would change what it answers. Remove it."
            )
        return ()

    def _keys(self, model, expressions):
        """Index expressions without order, collation and operator class."""
        if not expressions:
            return expressions
        keys = expressions.copy()
        keys.set_source_expressions(
            [self._key(model, key) for key in keys.get_source_expressions()]
        )
        return keys

    def _key(self, model, key):
        key, (inner, *rest) = key.copy(), key.get_source_expressions()
        inner = inner.copy()
        if isinstance(inner, OrderBy):
            first, last = inner.nulls_first, inner.nulls_last
            if inner.descending:  # read backwards, so NULLs lie at the other end
                first, last = last, first
            inner = KeyOrder(inner.expression, nulls_first=first, nulls_last=last)
        for wrapper in inner.flatten():
            if isinstance(wrapper, Collate) and wrapper.collation != "C":
                raise NotSupportedError(
                    f"DSQL has the collation C only; remove {wrapper.collation} from an "
                    f"index of {model._meta.label}."
                )
            if type(wrapper).__name__ == "OpClass":
                self._opclasses(model, [wrapper.extra["name"]])
        key.set_source_expressions([self._bare(inner), *rest])
        return key

    def _bare(self, expression):
        """Without Collate and OpClass, which were found to change nothing."""
        if isinstance(expression, Collate) or type(expression).__name__ == "OpClass":
            return self._bare(expression.get_source_expressions()[0])
        if isinstance(expression, KeyOrder):
            expression.expression = self._bare(expression.expression)
        return expression

    def _index_columns(self, table, columns, col_suffixes, opclasses):
        return Columns(table, columns, self.quote_name)

    def _create_like_index_sql(self, model, field):
        """None: under the C collation every index serves LIKE."""
