"""A runner and a catalog without a database: what is sent is recorded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import psycopg
from django.db import DatabaseError, ProgrammingError
from django.db.backends.ddl_references import Columns, Statement, Table

from config.dsql.ddl import sql
from config.dsql.ddl.catalog import Catalog, Column, Constraint, Constraints, Index
from config.dsql.ddl.runner import Runner

INDEX = Index(
    oid=1, name="names", table="item", method="btree_index", options=None, unique=False,
    primary=False, valid=True, nulls_not_distinct=False, partial=False,
    definition="CREATE INDEX names ON public.item USING btree_index (name)",
    constraint=None, constraint_oid=None, deferral="", keys=("name",), included=(),
    key_options=(0,), uses=frozenset({"name"}),
)  # fmt: skip


def quote(name: str) -> str:
    return name if name.startswith('"') else f'"{name}"'


class FakeRunner(Runner):
    """Records what is sent; a statement that begins with a key of ``errors`` fails."""

    def __init__(self, collected: list[str] | None = None) -> None:
        ops = SimpleNamespace(quote_name=quote, compose_sql=self._compose)
        connection = SimpleNamespace(
            ops=ops, in_atomic_block=False, cursor=self._cursor
        )
        super().__init__(connection, collected)
        self.sent: list[str] = []
        self.errors: dict[str, BaseException] = {}
        self.outcome = ("completed", "")  # of every job

    def submit(self, text: str) -> str | None:
        self.sent.append(text)
        for beginning, error in self.errors.items():
            if text.startswith(beginning):
                raise error
        return "job" if " ASYNC " in text else None

    def await_job(self, job: str, text: str) -> tuple[str, str]:
        self.sent.append(f"await {job}")
        return self.outcome

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        def execute(text: str, params: Any = None) -> None:
            if not text.startswith("SELECT"):
                self.submit(text)

        yield SimpleNamespace(execute=execute, fetchone=lambda: None, rowcount=0)

    @staticmethod
    def _compose(text: str, params: Any) -> str:
        return text % tuple(f"'{each}'" for each in params)


class FakeCatalog(Catalog):
    """Shows what it was given; after a rename or a DROP it is to be given anew."""

    def __init__(self) -> None:
        super().__init__(SimpleNamespace(ops=SimpleNamespace(quote_name=quote)))
        self.found_columns: dict[str, Column] = {}
        self.found_constraints = Constraints()
        self.found_indexes: list[Index] = []
        self.job: str | None = None

    def rows(self, query: str, params: Any = ()) -> list[tuple[Any, ...]]:
        return []

    def columns(self, table: str) -> dict[str, Column]:
        return dict(self.found_columns)

    def type(self, name: str) -> tuple[int, int]:
        return (hash(name), -1)

    def constraints(self, table: str) -> Constraints:
        return Constraints(self.found_constraints)

    def constraint(self, table: str, name: str) -> Constraint | None:
        return self.found_constraints.get(name)

    def index(self, table: str, name: str) -> Index | None:
        return next((each for each in self.found_indexes if each.name == name), None)

    def indexes(self, table: str) -> list[Index]:
        return [each for each in self.found_indexes if each.valid]

    def active_job(self, index: Index) -> str | None:
        return self.job


def index(**changes: Any) -> Index:
    return replace(INDEX, **changes)


def column(name: str, **changes: Any) -> Column:
    shown = Column(name, (23, -1), "integer", not_null=False, identity="", generated="")
    return replace(shown, **changes)


def check(definition: str, *columns: str, valid: bool = True) -> Constraint:
    return Constraint("c", valid, f"CHECK (({definition}))", frozenset(columns))


def statement(template: str, name: str = "names", **parts: Any) -> Statement:
    return Statement(
        template,
        **{
            "table": Table("item", quote),
            "name": quote(name),
            "columns": Columns("item", ["name"], quote),
            "include": "",
            "condition": "",
            "nulls_distinct": "",
            "deferrable": "",
            **parts,
        },
    )


def duplicate_table() -> DatabaseError:
    error = ProgrammingError("relation exists")
    error.__cause__ = psycopg.errors.DuplicateTable()
    return error


def duplicate_object() -> DatabaseError:
    error = ProgrammingError("constraint exists")
    error.__cause__ = psycopg.errors.DuplicateObject()
    return error


CREATE_INDEX = str(statement(sql.CREATE_INDEX))
