"""Changes of the schema inside an atomic block, as in RunPython."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import NotSupportedError, ProgrammingError, models, transaction
from django.db.transaction import TransactionManagementError
from django.test.utils import isolate_apps
from psycopg import sql

from config.dsql.base import DatabaseWrapper
from config.dsql.blocks import is_schema_change
from config.dsql.statements import is_synchronous_index
from tests.config.dsql.conftest import run
from tests.config.dsql.items import add, create, item, names

Change = Callable[[DatabaseWrapper], object]


def execute(connection: DatabaseWrapper, text: str) -> None:
    with connection.schema_editor() as editor:
        editor.execute(text)


def add_v(connection: DatabaseWrapper) -> None:
    add(connection, item(), "v", models.IntegerField(default=7))


def add_w(connection: DatabaseWrapper) -> None:
    execute(connection, "ALTER TABLE users_item ADD COLUMN w integer")


def add_x(connection: DatabaseWrapper) -> None:
    run(connection, "-- by a cursor\nALTER TABLE users_item ADD COLUMN x integer")


def add_y(connection: DatabaseWrapper) -> None:
    column = sql.SQL("ALTER TABLE users_item ADD COLUMN {} integer")
    with connection.cursor() as cursor:
        cursor.execute(column.format(sql.Identifier("y")))


def index(connection: DatabaseWrapper) -> None:
    run(connection, "/* raw */ CREATE  INDEX sizes\nON users_item (size)")


def use_index(connection: DatabaseWrapper) -> None:
    execute(connection, "CREATE UNIQUE INDEX keys ON users_item (size)")
    run(connection, "ALTER TABLE users_item ADD CONSTRAINT u UNIQUE USING INDEX keys")


def read(connection: DatabaseWrapper) -> None:
    run(connection, "SELECT * FROM users_item")


def set_constraints(connection: DatabaseWrapper) -> None:
    execute(connection, "SET CONSTRAINTS ALL IMMEDIATE")
    run(connection, "SET CONSTRAINTS ALL DEFERRED")


def insert(connection: DatabaseWrapper) -> None:
    run(connection, "INSERT INTO users_item (id) VALUES (8)")


@pytest.fixture
def table(scratch: DatabaseWrapper) -> Iterator[DatabaseWrapper]:
    with isolate_apps("users"):
        create(scratch, item())
        run(scratch, "INSERT INTO users_item (id, size) VALUES (1, 1)")
        yield scratch


@pytest.mark.parametrize(
    "changes",
    [
        (add_v,), (add_w,), (add_x,), (add_y,), (index,), (use_index,),
        (add_v, add_w, add_x, add_y), (add_y, add_x, add_w, add_v), (index, add_x, use_index),
        (read, add_x, add_w), (read, add_v, read, add_x, read, add_y),
        (set_constraints, add_w, set_constraints, add_x), (add_x, index, add_v),
    ],
)  # fmt: skip
def test_a_block_that_has_changed_no_rows_may_change_the_schema_again_and_again(
    table: DatabaseWrapper, changes: tuple[Change, ...]
) -> None:
    called: list[str] = []
    with transaction.atomic("other"), transaction.atomic("other"):
        transaction.on_commit(lambda: called.append("committed"), using="other")
        for change in changes:
            change(table)
            assert table.in_atomic_block
            assert not table.get_autocommit()
            assert not called
    assert called == ["committed"]
    added = {change.__name__.removeprefix("add_") for change in changes}
    assert added & set("vwxy") == names(table) - {"id", "size"}
    indexes = run(table, "SELECT relname FROM pg_class WHERE relname IN ('sizes', 'u')")
    assert len(indexes) == (index in changes) + (use_index in changes)


@pytest.mark.parametrize(
    "text",
    [
        "SET search_path = elsewhere",
        "SELECT set_config('search_path', 'elsewhere', false)",
    ],
)
def test_what_a_block_sets_for_its_session_holds_for_the_changes_after_it(
    table: DatabaseWrapper, text: str
) -> None:
    run(table, "CREATE SCHEMA elsewhere")
    try:
        with transaction.atomic("other"):
            run(table, text)
            execute(table, "CREATE TABLE there (id bigint)")
        assert run(table, "SELECT * FROM elsewhere.there") == []
        with transaction.atomic("other"):
            run(table, "SET search_path = scratch")
            insert(table)
        assert run(table, "SELECT count(*) FROM users_item") == [(2,)]
    finally:
        run(table, "DROP SCHEMA elsewhere CASCADE")


@pytest.mark.parametrize("change", [add_v, add_w, add_x, add_y, use_index])
def test_a_block_changes_rows_or_the_schema_and_not_both(
    table: DatabaseWrapper, change: Change
) -> None:
    way_out = r"RunPython\(…, atomic=False\)"
    for first, second in ((insert, change), (change, insert)):
        with transaction.atomic("other"):
            first(table)
            with pytest.raises(TransactionManagementError, match=way_out):
                second(table)
            transaction.set_rollback(True, using="other")
        assert run(table, "SELECT id FROM users_item") == [(1,)]


def test_an_index_beside_changed_rows_is_built_after_the_commit(
    table: DatabaseWrapper,
) -> None:
    with transaction.atomic("other"):
        insert(table)
        index(table)
    with transaction.atomic("other"):
        run(table, "CREATE INDEX others ON users_item (size)")
        run(table, "INSERT INTO users_item (id) VALUES (9)")
    assert run(table, "SELECT count(*) FROM users_item") == [(3,)]
    found = "SELECT indexrelid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
    valid = "WHERE indisvalid AND c.relname IN ('sizes', 'others')"
    assert len(run(table, found + valid)) == 2


def test_what_changes_rows_by_the_editor_belongs_to_the_block(
    table: DatabaseWrapper,
) -> None:
    with transaction.atomic("other"):
        execute(table, "UPDATE users_item SET size = 2")
        assert run(table, "SELECT size FROM users_item") == [(2,)]
        transaction.set_rollback(True, using="other")
    assert run(table, "SELECT size FROM users_item") == [(1,)]


def test_one_change_by_a_cursor_is_rolled_back_with_its_block(
    table: DatabaseWrapper,
) -> None:
    with transaction.atomic("other"):
        add_x(table)
        transaction.set_rollback(True, using="other")
    assert names(table) == {"id", "size"}


@pytest.mark.parametrize("change", [add_v, add_w])
def test_a_change_that_fails_leaves_the_block_as_it_was(
    table: DatabaseWrapper, change: Change
) -> None:
    with transaction.atomic("other"):
        with pytest.raises(ProgrammingError):
            execute(table, "ALTER TABLE users_item DROP COLUMN missing")
        assert table.in_atomic_block
        change(table)
    with transaction.atomic("other"):
        with pytest.raises(ProgrammingError):
            run(table, "SELECT missing FROM users_item")
        with pytest.raises(TransactionManagementError, match="has failed"):
            change(table)
        transaction.set_rollback(True, using="other")


def test_a_connection_that_is_cut_between_blocks_changes_is_opened_again(
    table: DatabaseWrapper,
) -> None:
    with transaction.atomic("other"):
        assert table.connection is not None
        table.connection.close()
        add_v(table)
        add_w(table)
    assert names(table) == {"id", "size", "v", "w"}


SAME = [
    'ALTER TABLE users_item ALTER COLUMN v TYPE VARCHAR(20) COLLATE "C"',
    'alter table only "users_item" alter v set data type character varying (20)',
    """
    ALTER TABLE users_item
        ALTER COLUMN v TYPE varchar(20) COLLATE pg_catalog."C" USING v::varchar(20),
        ALTER COLUMN n TYPE numeric(10, 2) USING "n",
        ALTER COLUMN t TYPE timestamp with time zone;
    """,
]
OTHER = [
    "ALTER TABLE users_item ALTER COLUMN v TYPE varchar(30)",
    'ALTER TABLE users_item ALTER COLUMN v TYPE varchar(20) COLLATE "en_US"',
    "ALTER TABLE users_item ALTER COLUMN v TYPE varchar(20) USING upper(v)",
    "ALTER TABLE users_item ALTER COLUMN v TYPE varchar(20) USING n::varchar(20)",
    "ALTER TABLE users_item ALTER COLUMN n TYPE numeric(10, 2), ALTER COLUMN v TYPE text",
    "ALTER TABLE users_item ALTER COLUMN missing TYPE text",
]


@pytest.fixture
def typed(scratch: DatabaseWrapper) -> DatabaseWrapper:
    columns = "v varchar(20), n numeric(10, 2), t timestamptz"
    run(scratch, f"CREATE TABLE users_item ({columns})")
    return scratch


@pytest.mark.parametrize("text", SAME)
@pytest.mark.parametrize("send", [execute, run])
def test_a_change_to_the_type_that_a_column_has_is_none(
    typed: DatabaseWrapper, send: Callable[[DatabaseWrapper, str], Any], text: str
) -> None:
    send(typed, text)
    with transaction.atomic("other"):
        run(typed, "INSERT INTO users_item (v) VALUES ('a')")
        send(typed, text)
        run(typed, "INSERT INTO users_item (v) VALUES ('b')")
    assert run(typed, "SELECT count(*) FROM users_item") == [(2,)]


@pytest.mark.parametrize("text", OTHER)
def test_a_change_to_another_type_is_sent(typed: DatabaseWrapper, text: str) -> None:
    for send in (execute, run):
        with pytest.raises((NotSupportedError, ProgrammingError)):
            send(typed, text)


MIGRATION = """
from django.db import migrations, models

def change(apps, schema_editor):
    field = models.IntegerField(null=True)
    schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    field.set_attributes_from_name("size")
    schema_editor.add_field(apps.get_model("users", "Entry"), field)
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("CREATE INDEX sizes ON users_entry (size)")
        cursor.execute('ALTER TABLE users_entry ALTER text TYPE varchar(9) COLLATE "C"')
        cursor.execute("ALTER TABLE users_entry ADD COLUMN other integer")
        cursor.execute("DROP INDEX sizes")

def fill(apps, schema_editor):
    alias = schema_editor.connection.alias
    apps.get_model("users", "Entry").objects.using(alias).create(text="once")
    schema_editor.execute("UPDATE users_entry SET size = 4")

class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel(
            "Entry",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("text", models.CharField(max_length=9)),
            ],
        ),
        migrations.RunPython(change, migrations.RunPython.noop),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
"""


def test_a_migration_changes_the_schema_in_run_python(
    scratch: DatabaseWrapper,
    tmp_path: Path,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = tmp_path / "entries_of_blocks"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "0001_initial.py").write_text(MIGRATION)
    monkeypatch.syspath_prepend(tmp_path)
    settings.MIGRATION_MODULES = {"users": package.name}
    call_command("migrate", "users", database="other", verbosity=0)
    with scratch.cursor() as cursor:
        table = scratch.introspection.get_table_description(cursor, "users_entry")
    assert [column.name for column in table] == ["id", "text", "size", "other"]
    assert run(scratch, "SELECT text, size FROM users_entry") == [("once", 4)]
    call_command("migrate", "users", "zero", database="other", verbosity=0)


@pytest.mark.parametrize(
    "lead", ["/**/" * 40, "-- a\n" * 40, " " * 10_000, "/* a" * 2_000]
)
def test_what_a_statement_does_is_seen_in_time_whatever_stands_before_it(
    lead: str,
) -> None:
    for text in ("SELECT 1", "/", "*/SET", ""):
        assert not is_schema_change(lead + text)
        assert not is_synchronous_index(lead + text)
    if not lead.startswith("/* a"):  # which never ends
        assert is_schema_change(f"{lead}Create table t (a int)")
        assert is_synchronous_index(f"{lead}Create  Unique\nIndex i ON t (a)")
        assert not is_synchronous_index(f"{lead}CREATE INDEX   ASYNC i ON t (a)")


def test_a_block_takes_sql_in_bytes(other: DatabaseWrapper) -> None:
    with transaction.atomic(using="other"), other.cursor() as cursor:
        sent: Any = b"SELECT 1"  # psycopg takes it, the stubs do not
        cursor.execute(sent)
        assert cursor.fetchall() == [(1,)]
