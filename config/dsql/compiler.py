"""Compile statements on rows; ``split_transactions`` sends UPDATE and DELETE in batches."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.db.backends.postgresql import compiler
from django.db.models.sql.constants import ROW_COUNT
from django.db.models.sql.query import Query
from django.db.models.sql.where import WhereNode

if TYPE_CHECKING:
    CompilerBase = compiler.SQLCompiler
else:
    CompilerBase = object

SQLCompiler = compiler.SQLCompiler
SQLAggregateCompiler = compiler.SQLAggregateCompiler


class SQLInsertCompiler(compiler.SQLInsertCompiler):
    connection: Any

    def assemble_as_sql(self, fields: Any, value_rows: Any) -> tuple[Any, Any]:
        rows: Any
        rows, params = super().assemble_as_sql(fields, value_rows)
        if isinstance(rows, compiler.InsertUnnest):
            ops = self.connection.ops
            types = [ops.storage_type(field).split("(")[0] for field in fields]
            rows = compiler.InsertUnnest([f"(%s)::{name}[]" for name in types])
        return rows, params


class SplitCompiler(CompilerBase):
    """A statement that changes rows; inside ``split_transactions``, one per batch."""

    connection: Any

    def execute_sql(  # type: ignore[override]  # overloads
        self, result_type: Any, *args: Any, **kwargs: Any
    ) -> Any:
        splitter = self.connection.splitter
        if splitter is None or result_type != ROW_COUNT:
            return super().execute_sql(result_type, *args, **kwargs)
        return sum(
            super(SplitCompiler, part).execute_sql(result_type, *args, **kwargs)
            for part in self._parts(splitter.rows)
        )

    def _parts(self, rows: int) -> Iterator[Any]:
        """The statement for batches of rows, all chosen before the first row is changed.

        A change may make rows match the condition, or no longer match it.
        """
        chosen = self.query.chain(klass=Query)
        chosen.clear_ordering(force=True)
        chosen.clear_select_clause()
        chosen.add_fields(["pk"])
        found = chosen.get_compiler(self.using).results_iter()
        # A join yields a row more than once; it is changed once.
        keys = list(
            dict.fromkeys(tuple(key) if len(key) > 1 else key[0] for key in found)
        )
        for start in range(0, len(keys), rows):
            part: Any = self.query.clone()
            part.where = WhereNode()
            part.add_filter("pk__in", keys[start : start + rows])
            yield part.get_compiler(self.using)


class SQLDeleteCompiler(SplitCompiler, compiler.SQLDeleteCompiler):
    pass


class SQLUpdateCompiler(SplitCompiler, compiler.SQLUpdateCompiler):
    pass
