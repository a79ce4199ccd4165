"""What stands in CREATE TABLE, and what is accepted as done."""

from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.db import ProgrammingError
from django.db.backends.ddl_references import Columns, Statement, Table

from config.dsql.ddl import sql
from config.dsql.ddl.probe import Probe
from config.dsql.ddl.tables import Tables
from tests.config.dsql.ddl.fakes import FakeCatalog, FakeRunner, quote, statement

MODEL = SimpleNamespace(
    _meta=SimpleNamespace(db_table="item", pk_fields=[SimpleNamespace(column="id")])
)
CREATE = 'CREATE TABLE "item" ("id" bigint)'


class Writer(SimpleNamespace):
    deferred_sql: list[Any]

    quote_name = staticmethod(quote)


def build(*existing: str) -> tuple[Tables, Any]:
    runner, catalog = FakeRunner(), FakeCatalog()
    catalog.has_table = lambda table: table in existing  # type: ignore[method-assign]  # a fake
    writer: Any = Writer(deferred_sql=[])
    return Tables(writer, runner, catalog, Probe(runner, catalog)), writer


def foreign_key(to: str, template: str = sql.ADD_FOREIGN_KEY) -> Statement:
    return Statement(
        template,
        table=Table("item", quote),
        name=quote("item_fk"),
        column=Columns("item", ["parent_id"], quote),
        to_table=Table(to, quote),
        to_column=Columns(to, ["id"], quote),
        on_delete_db=" ON DELETE CASCADE",
        deferrable=" DEFERRABLE INITIALLY DEFERRED",
    )


def test_constraints_stand_in_the_statement() -> None:
    tables, writer = build()
    check = statement(sql.ADD_CHECK, "positive", check="size > 0")
    text = tables.complete(MODEL, CREATE, [check, statement(sql.ADD_UNIQUE)])
    assert text == (
        'CREATE TABLE "item" ("id" bigint, CONSTRAINT "positive" CHECK (size > 0), '
        'CONSTRAINT "names" UNIQUE ("name"))'
    )
    assert writer.deferred_sql == []


@pytest.mark.parametrize("parent", ["item", "parent"])
def test_a_foreign_key_to_a_table_that_exists_keeps_what_it_does_on_delete(
    parent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = sql.ADD_FOREIGN_KEY.replace(
        "%(deferrable)s", "%(on_delete_db)s%(deferrable)s"
    )
    monkeypatch.setattr(sql, "ADD_FOREIGN_KEY", later)  # as of Django 6.1
    tables, _ = build("parent")
    text = tables.complete(MODEL, CREATE, [foreign_key(parent, later)])
    assert text == (
        'CREATE TABLE "item" ("id" bigint, CONSTRAINT "item_fk" FOREIGN KEY '
        f'("parent_id") REFERENCES "{parent}" ("id") ON DELETE CASCADE '
        "DEFERRABLE INITIALLY DEFERRED)"
    )


def test_what_cannot_stand_in_the_statement_is_deferred() -> None:
    tables, writer = build()
    deferred = [
        foreign_key("later"),
        statement(sql.ADD_UNIQUE, columns=Columns("item", ["id"], quote)),
        statement(sql.CREATE_INDEX),
        "ALTER TABLE item SET something",
    ]
    assert tables.complete(MODEL, CREATE, deferred) == CREATE
    assert writer.deferred_sql == deferred


def missing_table() -> None:
    raise ProgrammingError from psycopg.errors.UndefinedTable()


def test_a_table_that_an_earlier_run_dropped_takes_its_deferred_statements_along() -> (
    None
):
    tables, writer = build()
    writer.deferred_sql = [foreign_key("other"), foreign_key("other")]
    writer.deferred_sql[1].rename_table_references("item", "kept")
    kept = writer.deferred_sql[1]
    tables.remove("item", missing_table)
    assert writer.deferred_sql == [kept]


def test_a_table_that_exists_and_cannot_be_dropped_is_an_error() -> None:
    tables, _ = build("item")
    with pytest.raises(ProgrammingError):
        tables.remove("item", missing_table)


@pytest.mark.parametrize(("existing", "accepted"), [(("new",), True), ((), False)])
def test_a_table_that_an_earlier_run_renamed_is_accepted(
    existing: tuple[str, ...], accepted: bool
) -> None:
    tables, _ = build(*existing)
    if accepted:
        tables.rename("new", missing_table)
        assert tables.exists("new")
    else:
        with pytest.raises(ProgrammingError):
            tables.rename("new", missing_table)
