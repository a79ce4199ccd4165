"""Migrations that are interrupted and run again, as ``migrate`` runs them."""

import re
from typing import Any

import pytest
from django.db import ProgrammingError, migrations, models
from django.db.migrations.state import ProjectState
from django.db.models.functions import Concat, Lower, Upper

from config.dsql.base import DatabaseWrapper
from config.dsql.ddl import journal
from config.dsql.schema import DatabaseSchemaEditor
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
    migration: Any = migrations.Migration("0001_all", "library")
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
    fields: Any = [
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
    describe = DatabaseSchemaEditor(scratch).runner.describe
    texts = {describe(each) for each in (pairs, tuple(pairs[::-1]))}
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


def test_objects_that_exist_as_wanted_are_accepted(scratch: DatabaseWrapper) -> None:
    check = models.Q(rank__gt=0) & ~models.Q(title="it's 100%")
    constraints = [
        models.CheckConstraint(condition=check, name="book_check"),
        models.UniqueConstraint(fields=["title", "shelf"], name="book_unique"),
        models.UniqueConstraint(
            fields=["rank"], name="book_late", deferrable=models.Deferrable.DEFERRED
        ),
        models.UniqueConstraint(
            fields=["rank"], name="book_null", nulls_distinct=False
        ),
        models.UniqueConstraint(
            Lower("title"), name="book_lower", condition=models.Q(shelf="a%")
        ),
    ]
    indexes = [
        models.Index(fields=["-title", "rank"], name="book_plain", include=["shelf"]),
        models.Index(
            models.F("rank").desc(nulls_last=True),
            Concat("title", models.Value("'"), "shelf"),
            name="book_odd",
            condition=models.Q(title__startswith="a_"),
        ),
    ]
    parent = migrations.CreateModel(
        "Parent", [("id", models.AutoField(primary_key=True))], {"db_table": "parent"}
    )
    key = models.ForeignKey("library.Parent", models.CASCADE, null=True, unique=True)
    state = ProjectState()
    for operation in (parent, book(), migrations.AddField("Book", "parent", key)):
        operation.state_forwards("library", state)
    made = state.apps.get_model("library", "Book")
    for _ in range(2):
        with scratch.schema_editor() as editor:
            editor.create_model(state.apps.get_model("library", "Parent"))
            editor.create_model(made)
            editor.add_field(made, made._meta.get_field("parent"))
            for constraint in constraints:
                editor.add_constraint(made, constraint)
            for index in indexes:
                editor.add_index(made, index)
        assert run(scratch, "SELECT to_regclass('dsql_probe')") == [(None,)]


X, Y = models.Q(rank__gt=0), models.Q(rank__lt=0)
NAMED = {
    "keys": (
        models.Index(fields=["title"], name="named"),
        models.Index(fields=["shelf"], name="named"),
    ),
    "order": (
        models.Index(fields=["title", "shelf"], name="named"),
        models.Index(fields=["shelf", "title"], name="named"),
    ),
    "predicate": (
        models.Index(fields=["title"], name="named", condition=X),
        models.Index(fields=["title"], name="named", condition=Y),
    ),
    "expression": (
        models.Index(Lower("title"), name="named"),
        models.Index(Upper("title"), name="named"),
    ),
    "check": (
        models.CheckConstraint(condition=X, name="named"),
        models.CheckConstraint(condition=Y, name="named"),
    ),
    "unique": (
        models.UniqueConstraint(fields=["title"], name="named"),
        models.UniqueConstraint(fields=["shelf"], name="named"),
    ),
    "nulls": (
        models.UniqueConstraint(fields=["title"], name="named"),
        models.UniqueConstraint(fields=["title"], name="named", nulls_distinct=False),
    ),
    "deferral": (
        models.UniqueConstraint(fields=["title"], name="named"),
        models.UniqueConstraint(
            fields=["title"], name="named", deferrable=models.Deferrable.DEFERRED
        ),
    ),
    "kind": (
        models.CheckConstraint(condition=X, name="named"),
        models.UniqueConstraint(fields=["title"], name="named"),
    ),
}


@pytest.mark.parametrize("pair", NAMED.values(), ids=NAMED)
def test_another_object_of_the_name_is_an_error_that_shows_both(
    scratch: DatabaseWrapper, pair: tuple[Any, Any]
) -> None:
    state = ProjectState()
    book().state_forwards("library", state)
    made = state.apps.get_model("library", "Book")
    with scratch.schema_editor() as editor:
        editor.create_model(made)
        add: Any = (
            editor.add_index
            if isinstance(pair[0], models.Index)
            else editor.add_constraint
        )
        add(made, pair[0])
        with pytest.raises(
            ProgrammingError,
            match=r"named already .* Found: (CREATE|CHECK|UNIQUE).* Expected: .*named",
        ):
            add(made, pair[1])
    assert run(scratch, "SELECT to_regclass('dsql_probe')") == [(None,)]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "id bigint PRIMARY KEY, n integer NOT NULL UNIQUE",
            "id is no identity column",
        ),
        (
            "id bigint PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY (CACHE 1), "
            "n integer NOT NULL DEFAULT 6 UNIQUE CHECK (n > 3)",
            "n has the default 6, not 5$",
        ),
        (
            "id bigint PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY (CACHE 1), "
            "n integer NOT NULL DEFAULT 5 CHECK (n > 3)",
            r"it has no UNIQUE \(n\)$",
        ),
        (
            "id bigint PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY (CACHE 1), "
            "n integer NOT NULL DEFAULT 5 UNIQUE CHECK (n > 2)",
            r"it has no CHECK \(\(n > 3\)\)$",
        ),
    ],
)
def test_a_table_that_lacks_something_is_not_taken_over(
    scratch: DatabaseWrapper, body: str, message: str
) -> None:
    run(scratch, f"CREATE TABLE thing ({body})")
    state = ProjectState()
    migrations.CreateModel(
        "Thing",
        [
            ("id", models.BigAutoField(primary_key=True)),
            ("n", models.IntegerField(unique=True, db_default=5)),
        ],
        {
            "db_table": "thing",
            "constraints": [
                models.CheckConstraint(condition=models.Q(n__gt=3), name="thing_n")
            ],
        },
    ).state_forwards("library", state)
    with scratch.schema_editor() as editor, pytest.raises(ProgrammingError) as caught:
        editor.create_model(state.apps.get_model("library", "Thing"))
    differences = str(caught.value).partition(". Drop or rename")[0]
    assert re.search(message, differences)


@pytest.mark.parametrize("by", ["old_name", "old_fields"])
@pytest.mark.parametrize(
    "moment",
    [
        {"kill": 'CREATE INDEX ASYNC "new"'},
        {"after": 'CREATE INDEX ASYNC "new"'},
        {"after": "DROP INDEX"},
        {"kill": 'ALTER TABLE "book" ADD COLUMN'},
    ],
    ids=str,
)
def test_a_renaming_of_an_index_is_continued(
    scratch: DatabaseWrapper, by: str, moment: dict[str, str]
) -> None:
    fields = ["title", "shelf"]
    old: Any = (
        migrations.AddIndex("Book", models.Index(fields=fields, name="old"))
        if by == "old_name"
        else migrations.AlterIndexTogether("Book", {tuple(fields)})
    )
    renaming: dict[str, Any] = {by: "old" if by == "old_name" else fields}
    operations = [
        book(),
        old,
        migrations.RenameIndex("Book", new_name="new", **renaming),
        LAST,
    ]
    migrate(scratch, operations, **moment)
    migrate(scratch, operations)
    query = "SELECT indexname FROM pg_indexes WHERE tablename = 'book'"
    assert set(run(scratch, query)) == {("book_pkey",), ("new",)}


def test_an_index_is_there_all_the_time_it_is_renamed(scratch: DatabaseWrapper) -> None:
    index = models.Index(fields=["title"], name="old")
    operations = [
        book(indexes=[index]),
        migrations.RenameIndex("Book", new_name="new", old_name="old"),
    ]
    sent = migrate(scratch, operations)
    changed = [sql.partition(" ON ")[0] for sql in sent if " INDEX " in sql]
    assert changed[-2:] == ['CREATE INDEX ASYNC "new"', 'DROP INDEX IF EXISTS "old"']


def test_a_table_that_was_dropped_by_hand_is_made_again(
    scratch: DatabaseWrapper,
) -> None:
    tag = migrations.CreateModel(
        "Tag", [("id", models.BigIntegerField(primary_key=True))], {"db_table": "tag"}
    )
    first = migrations.AddField("Book", "first", models.IntegerField(default=1))
    operations = [tag, book(), first, LAST]
    migrate(scratch, operations, after='ALTER TABLE "book" ADD COLUMN "last"')
    run(scratch, "DROP TABLE book")
    sent = migrate(scratch, operations)
    assert [sql for sql in sent if sql.startswith("CREATE TABLE")] == [
        sql for sql in sent if sql.startswith('CREATE TABLE "book"')
    ]
    query = "SELECT * FROM book"
    with scratch.cursor() as cursor:
        cursor.execute(query)
        columns = {column.name for column in cursor.description}
    assert columns == {"id", "title", "shelf", "rank", "first", "last"}


@pytest.mark.parametrize(
    "moment",
    [
        {"after": 'ALTER TABLE "book" RENAME'},
        {"after": 'DROP TABLE "tag"'},
        {"kill": 'ALTER TABLE "volume" ADD COLUMN'},
    ],
    ids=str,
)
def test_a_table_that_the_migration_renames_or_drops_is_not_made_again(
    scratch: DatabaseWrapper, moment: dict[str, str]
) -> None:
    tag = migrations.CreateModel(
        "Tag", [("id", models.BigIntegerField(primary_key=True))], {"db_table": "tag"}
    )
    operations = [
        tag,
        migrations.CreateModel("Own", [("id", models.TextField(primary_key=True))]),
        migrations.RunSQL("ALTER TABLE Library_Own RENAME TO theirs"),
        book(),
        migrations.AlterModelTable("Book", "volume"),
        migrations.DeleteModel("Tag"),
        LAST,
    ]
    migrate(scratch, operations, **moment)
    sent = migrate(scratch, operations)
    assert not [sql for sql in sent if sql.startswith("CREATE TABLE")]
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'scratch'"
    assert set(run(scratch, query)) == {
        ("theirs",),
        ("volume",),
        ("dsql_migration_steps",),
    }
