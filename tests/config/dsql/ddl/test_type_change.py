"""The statements of a change of type, from every state that a run can have left."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from config.dsql.ddl.constraints import Constraints, NotNull
from config.dsql.ddl.indexes import Indexes
from config.dsql.ddl.probe import Probe
from config.dsql.ddl.type_change import TypeChanges
from tests.config.dsql.ddl.fakes import (
    FakeCatalog,
    FakeRunner,
    check,
    column,
    duplicate_table,
    index,
)

MODEL = SimpleNamespace(
    _meta=SimpleNamespace(db_table="item", pk_fields=[SimpleNamespace(column="id")])
)
ALTER = 'ALTER TABLE "item" '
NEW, OLD = '"size__dsql_new"', '"size__dsql_old"'
ADD_COLUMN = f"{ALTER}ADD COLUMN {NEW} text"
RENAME_AWAY = f'{ALTER}RENAME COLUMN "size" TO {OLD}'
RENAME_BACK = f'{ALTER}RENAME COLUMN {OLD} TO "size"'
COPY_REST = (
    f'UPDATE "item" SET {NEW} = {OLD}::text WHERE {NEW} IS DISTINCT FROM {OLD}::text'
)
RENAME_NEW = f'{ALTER}RENAME COLUMN {NEW} TO "size"'
DROP_OLD = f"{ALTER}DROP COLUMN {OLD}"


class Database(FakeRunner):
    """Renames columns in the catalog as the statements do, and drops indexes."""

    def __init__(self, *columns: str) -> None:
        super().__init__()
        self.catalog = FakeCatalog()
        self.show(*columns)
        self.builds: list[str] = []  # that a run has left

    def show(self, *columns: str) -> None:
        self.catalog.found_columns = {name: column(name) for name in columns}

    def submit(self, text: str) -> str | None:
        job = super().submit(text)
        if "RENAME COLUMN" in text:
            before, after = text.replace('"', "").split(" COLUMN ")[1].split(" TO ")
            columns = {*self.catalog.found_columns} - {before} | {after}
            self.show(*columns)
        if text.startswith("DROP INDEX"):
            name = text.split('"')[1]
            indexes = self.catalog.found_indexes
            self.catalog.found_indexes = [each for each in indexes if each.name != name]
        return job

    def change(self) -> list[str]:
        probe = Probe(self, self.catalog)
        indexes = Indexes(self, self.catalog, probe)
        constraints = Constraints(self, self.catalog, probe, indexes)
        not_null = NotNull(self, self.catalog, constraints, lambda *_: "item_size")
        TypeChanges(self, self.catalog, indexes, constraints, not_null).run(
            MODEL, "size", "text"
        )
        return self.sent


def test_a_column_is_added_filled_and_takes_the_name() -> None:
    sent = Database("id", "size").change()
    assert sent == [
        ADD_COLUMN,
        f'UPDATE "item" SET {NEW} = "size"::text '
        f'WHERE ({NEW} IS DISTINCT FROM "size"::text)',
        RENAME_AWAY,
        COPY_REST,
        RENAME_NEW,
        DROP_OLD,
    ]


@pytest.mark.parametrize(
    ("columns", "remaining"),
    [
        (
            ("id", "size", "size__dsql_new"),
            [RENAME_AWAY, COPY_REST, RENAME_NEW, DROP_OLD],
        ),
        (("id", "size__dsql_old", "size__dsql_new"), [COPY_REST, RENAME_NEW, DROP_OLD]),
        (("id", "size__dsql_old", "size"), [DROP_OLD]),
    ],
)
def test_a_run_goes_on_where_an_earlier_one_was_killed(
    columns: tuple[str, ...], remaining: list[str]
) -> None:
    database = Database(*columns)
    new = database.catalog.type("text")
    if "size__dsql_new" in columns:
        database.catalog.found_columns["size__dsql_new"] = column(
            "size__dsql_new", type=new
        )
    sent = database.change()
    assert sent[-len(remaining) :] == remaining
    assert ADD_COLUMN not in sent


def test_not_null_moves_to_the_new_column_in_the_window() -> None:
    database = Database("id", "size")
    database.catalog.found_constraints["item_size_notnull"] = check(
        "size IS NOT NULL", "size"
    )
    sent = database.change()
    assert sent[sent.index(COPY_REST) : sent.index(RENAME_NEW)] == [
        COPY_REST,
        f'{ALTER}DROP CONSTRAINT "item_size_notnull", ADD CONSTRAINT '
        f'"item_size1_notnull" CHECK ({NEW} IS NOT NULL) NOT VALID',
    ]


@pytest.mark.parametrize("step", [COPY_REST, RENAME_NEW])
def test_an_error_in_the_window_rolls_the_cutover_back(step: str) -> None:
    database = Database("id", "size")
    database.errors[step] = OperationalError("again and again")
    with pytest.raises(OperationalError):
        database.change()
    assert database.sent[-1] == RENAME_BACK
    assert "size" in database.catalog.found_columns


def test_a_replacement_under_construction_is_awaited_before_its_original_is_dropped() -> (
    None
):
    database = Database("id", "size", "size__dsql_old")
    replacement = 'CREATE INDEX ASYNC "sizes__dsql_new"'
    database.errors[replacement] = duplicate_table()
    definition = "CREATE INDEX {} ON public.item USING btree_index ({})"
    original = index(
        name="sizes",
        definition=definition.format("sizes", "lower(size__dsql_old)"),
        keys=(None,),
        uses=frozenset({"size__dsql_old"}),
    )
    started = index(
        name="sizes__dsql_new",
        definition=definition.format("sizes__dsql_new", "lower(size)"),
        keys=(None,),
        uses=frozenset({"size"}),
        valid=False,
    )
    database.catalog.found_indexes = [original, started]
    database.catalog.job = "earlier"

    def finish(job: str, text: str) -> Any:
        valid = replace(started, valid=True)
        database.catalog.found_indexes = [original, valid]
        database.sent.append(f"await {job}")
        return ("completed", "")

    database.await_job = finish  # type: ignore[method-assign]  # the build ends here
    sent = database.change()
    dropped = sent.index('DROP INDEX "sizes"')
    assert sent.index("await earlier") < dropped
    assert sent[-1] == DROP_OLD


def test_a_change_is_printed_without_being_run() -> None:
    collected: list[str] = []
    database = Database("id", "size")
    database._collected = collected
    assert database.change() == []
    statements = [text for text in collected if not text.startswith("--")]
    assert statements == [
        f"{ADD_COLUMN};",
        f'UPDATE "item" SET {NEW} = "size"::text '
        f'WHERE {NEW} IS DISTINCT FROM "size"::text;',
        f"{RENAME_AWAY};",
        f"{COPY_REST};",
        f"{RENAME_NEW};",
        f"{DROP_OLD};",
    ]
