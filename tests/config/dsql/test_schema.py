"""The schema editor against the sandbox, which refuses what DSQL refuses."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, models
from django.db.models.functions import Lower
from django.test.utils import isolate_apps
from django_stubs_ext.db.models import TypedModelMeta

from config.dsql.base import DatabaseWrapper
from config.dsql.ddl.runner import Runner
from config.dsql.schema import DatabaseSchemaEditor
from tests.config.dsql.conftest import run

VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('{}')"


class WaitingRunner(Runner):
    """Makes a job's fate known only while it is waited for."""

    on_job: Callable[[str], None]

    def submit(self, text: str) -> Any:
        job = super().submit(text)
        if job is not None:
            self.on_job(job)
        return job


class Waiting(DatabaseSchemaEditor):
    runner_class = WaitingRunner
    runner: WaitingRunner
    delays: list[float]


@pytest.fixture
def editor(scratch: DatabaseWrapper) -> Waiting:
    editor = Waiting(scratch)
    editor.delays = []
    editor.runner.sleep = editor.delays.append
    return editor


@pytest.fixture
def service(
    superuser: psycopg.Connection[Any], held_jobs: None
) -> Callable[[str, str, str], None]:
    """Ends a job as the service would; a failed build leaves its index invalid."""
    superuser.execute("SET allow_system_table_mods = on")

    def end(job: str, status: str, details: str) -> None:
        superuser.execute(
            "UPDATE sandbox.jobs SET status = %s, details = %s WHERE job_id = %s",
            [status, details, job],
        )
        superuser.execute(
            "UPDATE pg_index SET indisvalid = %s WHERE indexrelid = "
            "to_regclass('scratch.emails')",
            [status == "completed"],
        )

    return end


@isolate_apps("users")
def test_a_model_is_made_by_one_statement_per_transaction(
    scratch: DatabaseWrapper,
) -> None:
    class Item(models.Model):  # noqa: DJ008 - nobody prints it
        name = models.CharField(max_length=10)
        rank = models.BigIntegerField(db_index=True)

        class Meta(TypedModelMeta):
            app_label = "users"
            indexes = [models.Index(fields=["name", "id"], name="item_pair")]
            constraints = [models.UniqueConstraint(Lower("name"), name="item_name")]

    sent: list[str] = []

    def record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(("CREATE", "ALTER", "DROP")):
            assert scratch.connection.info.transaction_status.name == "IDLE", sql
            sent.append(sql)
        return execute(sql, params, many, context)

    with scratch.execute_wrapper(record), scratch.schema_editor() as editor:
        editor.create_model(Item)
    assert sent[0].startswith('CREATE TABLE "users_item"')
    assert len(sent) > 3
    assert all(" INDEX ASYNC " in sql for sql in sent[1:])
    valid = run(
        scratch,
        "SELECT relname, indisvalid FROM pg_index JOIN pg_class c ON c.oid = indexrelid "
        "WHERE relnamespace = 'scratch'::regnamespace",
    )
    assert {"item_pair", "item_name", "users_item_pkey"} <= {name for name, _ in valid}
    assert all(is_valid for _, is_valid in valid)
    first = Item(name="A", rank=1)
    first.save(using="other")
    with pytest.raises(IntegrityError, match="item_name"):
        Item(name="a", rank=2).save(using="other")
    with scratch.schema_editor() as editor:
        editor.delete_model(Item)
    assert run(scratch, "SELECT to_regclass('users_item')") == [(None,)]


def test_collected_sql_is_not_run(scratch: DatabaseWrapper) -> None:
    with scratch.schema_editor(collect_sql=True) as editor:
        editor.execute("CREATE TABLE never (a bigint)")
    assert editor.collected_sql == ["CREATE TABLE never (a bigint);"]
    assert run(scratch, "SELECT to_regclass('never')") == [(None,)]


def test_waits_for_the_job_with_growing_pauses_and_says_so(
    editor: Waiting, service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run(editor.connection, "CREATE TABLE t (email text)")
    jobs: list[str] = []

    def begin(job: str) -> None:
        jobs.append(job)
        service(job, "processing", "")

    def pause(seconds: float) -> None:
        editor.delays.append(seconds)
        if sum(editor.delays) > 25:
            service(jobs[0], "completed", "")

    editor.runner.on_job, editor.runner.sleep = begin, pause
    editor.runner.clock = lambda: sum(editor.delays)
    editor.execute("CREATE UNIQUE INDEX ASYNC emails ON t (email)")
    assert editor.delays[:8] == [0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.0]
    assert set(editor.delays[7:]) == {2.0}
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].startswith("Still processing for 1")
    assert said[0].endswith(" s: CREATE UNIQUE INDEX ASYNC emails ON t (email)")


def test_a_unique_index_that_cannot_be_built_is_dropped_and_reported(
    editor: Waiting, service: Any
) -> None:
    run(editor.connection, "CREATE TABLE t (email text)")
    editor.runner.on_job = lambda job: service(
        job, "failed", "Key (email)=(a) is duplicated"
    )
    statement = "CREATE UNIQUE INDEX ASYNC emails ON t (email)"
    with pytest.raises(IntegrityError) as caught:
        editor.execute(statement)
    assert str(caught.value) == (
        "Index emails could not be built (Key (email)=(a) is duplicated) and was "
        f"dropped. Correct the rows, then migrate again. Statement: {statement}"
    )
    assert run(editor.connection, "SELECT to_regclass('emails')") == [(None,)]
    editor.runner.on_job = lambda job: service(job, "completed", "")
    editor.execute(statement)
    assert run(editor.connection, VALID.format("emails")) == [(True,)]


def test_duplicates_leave_no_index_and_an_integrity_error(
    scratch: DatabaseWrapper,
) -> None:
    run(scratch, "CREATE TABLE t (email text)")
    run(scratch, "INSERT INTO t VALUES ('a'), ('a')")
    statement = 'CREATE UNIQUE INDEX ASYNC "Mixed" ON t (email)'
    with scratch.schema_editor() as editor, pytest.raises(IntegrityError):
        editor.execute(statement)
    assert run(scratch, "SELECT to_regclass('\"Mixed\"')") == [(None,)]
    run(scratch, "DELETE FROM t")
    with scratch.schema_editor() as editor:
        editor.execute(statement)
    assert run(scratch, VALID.format('"Mixed"')) == [(True,)]


def test_a_purged_job_is_judged_by_its_index(
    editor: Waiting, superuser: psycopg.Connection[Any], held_jobs: None
) -> None:
    run(editor.connection, "CREATE TABLE t (email text)")

    def end_and_purge(job: str) -> None:
        superuser.execute("SELECT sandbox.run_job(%s)", [job])
        superuser.execute("DELETE FROM sandbox.jobs WHERE job_id = %s", [job])

    editor.runner.on_job = end_and_purge
    editor.execute("CREATE INDEX ASYNC emails ON t (email)")
    assert editor.delays == []
    assert run(editor.connection, VALID.format("emails")) == [(True,)]
