"""Which part runs a statement."""

from typing import Any

import pytest

from config.dsql.ddl import sql
from config.dsql.ddl.dispatch import Dispatcher
from config.dsql.ddl.tables import CreateTable
from tests.config.dsql.ddl.fakes import FakeRunner, statement


class Part:
    """Takes the place of every part; records what it is asked to do."""

    def __init__(self, name: str, calls: list[Any]) -> None:
        self._name, self._calls = name, calls

    def __getattr__(self, method: str) -> Any:
        def record(*args: Any) -> None:
            self._calls.append((f"{self._name}.{method}", *map(str, args)))

        return record


def dispatch(text: Any, params: Any = ()) -> tuple[list[Any], FakeRunner]:
    calls: list[Any] = []
    runner = FakeRunner()
    tables, indexes, constraints = (
        Part(name, calls) for name in ("tables", "indexes", "constraints")
    )
    parts: Any = (tables, indexes, constraints)
    Dispatcher(runner, *parts).execute(text, params)
    return calls, runner


@pytest.mark.parametrize(
    ("template", "method"),
    [
        (sql.ADD_UNIQUE, "constraints.add_unique"),
        (sql.CREATE_INDEX, "indexes.add"),
        (sql.CREATE_UNIQUE_INDEX, "indexes.add"),
        (sql.DROP_CONSTRAINT, "constraints.drop"),
    ],
)
def test_djangos_statements_are_known_by_their_templates(
    template: str, method: str
) -> None:
    calls, runner = dispatch(statement(template))
    assert [call[0] for call in calls] == [method]
    assert runner.sent == []


def test_a_table_is_created_by_the_part_that_compares_it() -> None:
    calls, _ = dispatch(CreateTable("CREATE TABLE item (id bigint)"))
    assert calls == [("tables.create", "CREATE TABLE item (id bigint)")]


@pytest.mark.parametrize(
    ("text", "name", "table"),
    [
        ("CREATE INDEX ASYNC Names ON Item (name)", "names", '"item"'),
        ('create unique index async "Names" on s."Item" (name)', "Names", '"s"."Item"'),
    ],
)
def test_an_index_of_raw_sql_is_awaited(text: str, name: str, table: str) -> None:
    calls, _ = dispatch(text)
    assert calls == [("indexes.build", text, name, table)]


def test_a_validation_of_raw_sql_becomes_a_job() -> None:
    calls, _ = dispatch("ALTER TABLE item VALIDATE CONSTRAINT c")
    assert calls == [
        ("constraints.validate_raw", "ALTER TABLE ASYNC item VALIDATE CONSTRAINT c")
    ]


@pytest.mark.parametrize(
    ("text", "removed"),
    [
        ("DROP TABLE Item", "item"),
        ('DROP TABLE IF EXISTS s."Item" CASCADE', "Item"),
        ("ALTER TABLE item RENAME TO other", "item"),
        ("ALTER TABLE item ADD COLUMN a int", None),
    ],
)
def test_a_removed_table_is_recorded_before_the_statement_is_sent(
    text: str, removed: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(
        FakeRunner, "record_removal", lambda _, table: seen.append(table)
    )
    _, runner = dispatch(text, None)
    assert seen == ([] if removed is None else [removed])
    assert runner.sent == [text]


def test_an_extension_is_not_created(caplog: pytest.LogCaptureFixture) -> None:
    _, runner = dispatch("CREATE EXTENSION pg_trgm")
    assert runner.sent == []
    assert "DSQL has no extensions" in caplog.text
