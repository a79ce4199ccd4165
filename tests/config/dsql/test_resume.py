"""Migrations that are interrupted and run again, as ``migrate`` runs them."""

from typing import Any

from django.db import migrations, models
from django.db.migrations.state import ProjectState

from config.dsql import journal
from config.dsql.base import DatabaseWrapper
from tests.config.dsql.conftest import run

NAMES = "SELECT conname FROM pg_constraint WHERE conrelid = '{}'::regclass AND contype = '{}'"


class Killed(Exception):
    """Ends a run where a SIGKILL would have."""


def migrate(
    connection: DatabaseWrapper,
    operations: list[Any],
    *,
    kill: str = "",
    after: str = "",
) -> list[str]:
    """Apply them as one migration; the statements, up to one that begins with ``kill``."""
    migration = migrations.Migration("0001_all", "library")
    migration.operations = operations
    sent: list[str] = []

    def strike(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if kill and sql.startswith(kill):
            raise Killed
        result = execute(sql, params, many, context)
        if not sql.lstrip().startswith("SELECT"):
            sent.append(sql)
        if after and sql.startswith(after):
            raise Killed
        return result

    journal.begin(using=connection.alias, plan=[(migration, False)])
    try:
        with connection.execute_wrapper(strike), connection.schema_editor() as editor:
            migration.apply(ProjectState(), editor)
    except Killed:
        assert kill or after
    else:
        assert not kill
        assert not after
    return sent


def book(**options: Any) -> migrations.CreateModel:
    fields = [
        ("id", models.BigIntegerField(primary_key=True)),
        ("title", models.CharField(max_length=20)),
        ("shelf", models.CharField(max_length=20)),
        ("rank", models.IntegerField()),
    ]
    return migrations.CreateModel("Book", fields, {"db_table": "book", **options})


def names(connection: DatabaseWrapper, kind: str, table: str = "book") -> set[str]:
    return {name for (name,) in run(connection, NAMES.format(table, kind))}


LAST = migrations.AddField("Book", "last", models.IntegerField(null=True))


def test_a_step_is_known_whatever_the_order_of_its_set(
    scratch: DatabaseWrapper,
) -> None:
    pairs = [("title", "shelf"), ("shelf", "rank")]
    with scratch.schema_editor() as editor:
        texts = {editor._described(each) for each in (pairs, tuple(pairs[::-1]))}
    assert len(texts) == 1


def test_a_done_removal_of_unique_together_is_played(scratch: DatabaseWrapper) -> None:
    operations = [
        book(unique_together={("title", "shelf"), ("shelf", "rank")}),
        migrations.AlterUniqueTogether("Book", {("title", "rank")}),
        LAST,
    ]
    migrate(scratch, operations, kill='ALTER TABLE "book" ADD COLUMN')
    assert len(names(scratch, "u")) == 1
    sent = migrate(scratch, operations)
    assert sent[0].startswith('ALTER TABLE "book" ADD COLUMN')


def test_a_removal_of_unique_together_beside_a_constraint_is_continued(
    scratch: DatabaseWrapper,
) -> None:
    same = models.UniqueConstraint(fields=["title", "shelf"], name="book_same")
    operations = [
        book(unique_together={("title", "shelf")}),
        migrations.AddConstraint("Book", same),
        migrations.AlterUniqueTogether("Book", set()),
    ]
    migrate(scratch, operations, after='ALTER TABLE "book" DROP CONSTRAINT')
    migrate(scratch, operations)
    assert names(scratch, "u") == {"book_same"}
