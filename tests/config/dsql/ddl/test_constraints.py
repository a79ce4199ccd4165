"""What is sent to add, validate and drop a constraint, by what the catalog shows."""

import pytest
from django.db import IntegrityError, ProgrammingError

from config.dsql.ddl import sql
from config.dsql.ddl.catalog import Constraint
from config.dsql.ddl.constraints import Constraints, NotNull
from config.dsql.ddl.indexes import Indexes
from config.dsql.ddl.probe import Probe
from tests.config.dsql.ddl.fakes import (
    FakeCatalog,
    FakeRunner,
    check,
    column,
    duplicate_object,
    index,
    statement,
)

ADD = 'ALTER TABLE "item" ADD CONSTRAINT "positive" CHECK (size > 0) NOT VALID'
VALIDATE = 'ALTER TABLE ASYNC "item" VALIDATE CONSTRAINT "{}"'
POSITIVE = statement(sql.ADD_CHECK, "positive", check="size > 0")


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def catalog() -> FakeCatalog:
    return FakeCatalog()


@pytest.fixture
def constraints(runner: FakeRunner, catalog: FakeCatalog) -> Constraints:
    probe = Probe(runner, catalog)
    return Constraints(runner, catalog, probe, Indexes(runner, catalog, probe))


@pytest.fixture
def not_null(
    runner: FakeRunner, catalog: FakeCatalog, constraints: Constraints
) -> NotNull:
    return NotNull(runner, catalog, constraints, lambda table, _: f"{table}_x")


def test_a_check_is_added_then_validated(
    constraints: Constraints, runner: FakeRunner
) -> None:
    constraints.add(POSITIVE)
    assert runner.sent == [ADD, VALIDATE.format("positive"), "await job"]


def test_a_check_that_an_earlier_run_added_and_validated_is_left_alone(
    constraints: Constraints, runner: FakeRunner, catalog: FakeCatalog
) -> None:
    runner.errors["ALTER TABLE "] = duplicate_object()
    catalog.found_constraints["positive"] = check("size > 0", "size")
    constraints.add(POSITIVE)
    assert runner.sent == [ADD]


def test_another_check_of_the_name_is_an_error(
    constraints: Constraints,
    runner: FakeRunner,
    catalog: FakeCatalog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runner.errors[ADD] = duplicate_object()
    catalog.found_constraints["positive"] = Constraint("c", True, "CHECK ((a > 1))")
    monkeypatch.setattr(catalog, "definition", lambda table, _: f"CHECK of {table}")
    with pytest.raises(
        ProgrammingError,
        match=r"^Constraint positive already .* Found: CHECK of item. Expected: ALTER",
    ):
        constraints.add(POSITIVE)


def test_a_constraint_that_rows_break_is_dropped(
    constraints: Constraints, runner: FakeRunner, catalog: FakeCatalog
) -> None:
    catalog.found_constraints["positive"] = check("size > 0", "size", valid=False)
    runner.outcome = ("failed", "row 7")
    with pytest.raises(IntegrityError, match="was dropped: Job failed: row 7"):
        constraints.add(POSITIVE)
    assert runner.sent[-1] == 'ALTER TABLE "item" DROP CONSTRAINT "positive"'


def test_a_unique_constraint_takes_an_index_that_is_built_first(
    constraints: Constraints, runner: FakeRunner, catalog: FakeCatalog
) -> None:
    catalog.found_indexes = [index(unique=True)]
    constraints.add_unique(statement(sql.ADD_UNIQUE))
    assert runner.sent == [
        'CREATE UNIQUE INDEX ASYNC "names" ON "item" ("name")',
        "await job",
        'ALTER TABLE "item" ADD CONSTRAINT "names" UNIQUE USING INDEX "names"',
    ]


def test_a_column_marked_not_null_gets_no_check(
    not_null: NotNull, runner: FakeRunner, catalog: FakeCatalog
) -> None:
    catalog.found_columns["size"] = column("size", not_null=True)
    not_null.add("item", "size", pytest.fail)
    assert runner.sent == []


def test_not_null_is_a_check_and_rows_are_filled_before_it_is_validated(
    not_null: NotNull, runner: FakeRunner, catalog: FakeCatalog
) -> None:
    catalog.found_columns["size"] = column("size")
    not_null.add("item", "size", lambda: runner.sent.append("fill"))
    assert runner.sent == [
        'ALTER TABLE "item" ADD CONSTRAINT "item_x_notnull" '
        'CHECK ("size" IS NOT NULL) NOT VALID',
        "fill",
        VALIDATE.format("item_x_notnull"),
        "await job",
    ]


def test_a_not_null_check_that_exists_is_validated_and_not_added(
    not_null: NotNull, runner: FakeRunner, catalog: FakeCatalog
) -> None:
    catalog.found_columns["size"] = column("size")
    catalog.found_constraints["a_notnull"] = check(
        "size IS NOT NULL", "size", valid=False
    )
    not_null.add("item", "size", lambda: None)
    assert runner.sent == [VALIDATE.format("a_notnull"), "await job"]


def test_a_not_null_check_takes_no_name_of_another_columns(
    not_null: NotNull, catalog: FakeCatalog
) -> None:
    catalog.found_constraints["item_x_notnull"] = check("old IS NOT NULL", "old")
    name = not_null.free_name("item", "size", catalog.found_constraints)
    assert name == "item_x1_notnull"
