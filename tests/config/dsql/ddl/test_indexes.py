"""What is sent to build an index, by what the catalog shows."""

import pytest
from django.db import IntegrityError, ProgrammingError
from django.db.transaction import TransactionManagementError

from config.dsql.ddl import sql
from config.dsql.ddl.indexes import Indexes
from config.dsql.ddl.probe import Probe
from tests.config.dsql.ddl.fakes import (
    CREATE_INDEX,
    FakeCatalog,
    FakeRunner,
    duplicate_table,
    index,
    statement,
)

DROP = 'DROP INDEX IF EXISTS "names"'


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def catalog() -> FakeCatalog:
    return FakeCatalog()


@pytest.fixture
def indexes(runner: FakeRunner, catalog: FakeCatalog) -> Indexes:
    return Indexes(runner, catalog, Probe(runner, catalog))


def test_an_index_is_built_and_awaited(
    indexes: Indexes, runner: FakeRunner, catalog: FakeCatalog
) -> None:
    catalog.found_indexes = [index()]
    indexes.add(statement(sql.CREATE_INDEX))
    assert runner.sent == [CREATE_INDEX, "await job"]


def test_plain_indexes_are_all_started_before_one_is_awaited(
    indexes: Indexes, runner: FakeRunner, catalog: FakeCatalog
) -> None:
    catalog.found_indexes = [index(name=name) for name in ("a", "b", "c")]
    with indexes.side_by_side():
        indexes.add(statement(sql.CREATE_INDEX, "a"))
        indexes.add(statement(sql.CREATE_UNIQUE_INDEX, "b"))
        indexes.add(statement(sql.CREATE_INDEX, "c"))
    sent = [text.split(" ON ")[0] for text in runner.sent]
    assert sent == [
        'CREATE INDEX ASYNC "a"',
        'CREATE UNIQUE INDEX ASYNC "b"',
        "await job",
        'CREATE INDEX ASYNC "c"',
        "await job",
        "await job",
    ]


def test_after_an_error_no_index_is_awaited(
    indexes: Indexes, runner: FakeRunner
) -> None:
    runner.errors["CREATE UNIQUE"] = ZeroDivisionError()

    def add() -> None:
        with indexes.side_by_side():
            indexes.add(statement(sql.CREATE_INDEX))
            indexes.add(statement(sql.CREATE_UNIQUE_INDEX))

    with pytest.raises(ZeroDivisionError):
        add()
    assert "await job" not in runner.sent


def test_an_index_that_exists_as_written_is_left_alone(
    indexes: Indexes, runner: FakeRunner, catalog: FakeCatalog
) -> None:
    runner.errors["CREATE INDEX"] = duplicate_table()
    catalog.found_indexes = [index()]
    indexes.add(statement(sql.CREATE_INDEX))
    assert runner.sent == [CREATE_INDEX]


def test_a_build_that_still_runs_is_awaited(
    indexes: Indexes, runner: FakeRunner, catalog: FakeCatalog
) -> None:
    runner.errors["CREATE INDEX"] = duplicate_table()
    catalog.found_indexes, catalog.job = [index(valid=False)], "earlier"
    with pytest.raises(IntegrityError):  # the fake's never becomes valid
        indexes.add(statement(sql.CREATE_INDEX))
    assert runner.sent == [CREATE_INDEX, "await earlier", DROP]


def test_what_a_failed_build_left_is_dropped_and_built_again(
    runner: FakeRunner, catalog: FakeCatalog
) -> None:
    class Once(FakeRunner):
        def submit(self, text: str) -> str | None:
            job = super().submit(text)
            if text == DROP:
                self.errors.clear()
                catalog.found_indexes = [index()]
            return job

    once = Once()
    once.errors["CREATE INDEX"] = duplicate_table()
    catalog.found_indexes = [index(valid=False)]
    Indexes(once, catalog, Probe(once, catalog)).add(statement(sql.CREATE_INDEX))
    assert once.sent == [CREATE_INDEX, DROP, CREATE_INDEX, "await job"]


def test_a_name_that_another_table_has_taken_is_an_error_that_shows_both(
    indexes: Indexes, runner: FakeRunner, catalog: FakeCatalog
) -> None:
    runner.errors["CREATE INDEX"] = duplicate_table()
    catalog.found_indexes = [index(table="other")]
    with pytest.raises(ProgrammingError) as caught:
        indexes.add(statement(sql.CREATE_INDEX))
    assert str(caught.value) == (
        "Index names already exists with a different definition. "
        f"Found: {index().definition}. Expected: {CREATE_INDEX}"
    )


def test_an_index_that_cannot_be_built_is_dropped_with_its_schema(
    indexes: Indexes, runner: FakeRunner
) -> None:
    runner.outcome = ("failed", "Key (name)=(a) is duplicated")
    with pytest.raises(IntegrityError, match=r"\(Key \(name\)=\(a\) is duplicated\)"):
        indexes.build('CREATE INDEX ASYNC n ON s."item" (name)', "n", '"s"."item"')
    assert runner.sent[-1] == 'DROP INDEX IF EXISTS "s"."n"'


def test_no_index_is_built_inside_a_transaction(
    indexes: Indexes, runner: FakeRunner
) -> None:
    runner.connection.in_atomic_block = True
    with pytest.raises(TransactionManagementError, match="atomic = False"):
        indexes.add(statement(sql.CREATE_INDEX))
    assert runner.sent == []


def test_a_collected_index_is_printed_with_its_wait(catalog: FakeCatalog) -> None:
    collected: list[str] = []
    runner = FakeRunner(collected)
    Indexes(runner, catalog, Probe(runner, catalog)).add(statement(sql.CREATE_INDEX))
    assert collected == [
        f"{CREATE_INDEX};",
        "-- wait for the job: CALL sys.wait_for_job('<job_id>')",
    ]
    assert runner.sent == []
