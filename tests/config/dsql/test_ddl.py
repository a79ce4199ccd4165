"""Changes of tables that exist, and what the schema editor refuses."""

from typing import Any

import pytest
from django.contrib.postgres.operations import ValidateConstraint
from django.db import (
    DataError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
    models,
)
from django.db.migrations.state import ModelState, ProjectState
from django.db.models.functions import Lower
from django.test.utils import isolate_apps
from django_stubs_ext.db.models import TypedModelMeta

from config.dsql.base import DatabaseWrapper
from tests.config.dsql.conftest import run
from tests.config.dsql.models import added, alter, build, create, described, model


@pytest.fixture(autouse=True)
def isolated() -> Any:
    with isolate_apps("users"):
        yield


def test_a_column_with_a_default_is_added_to_rows_and_is_not_null(
    scratch: DatabaseWrapper,
) -> None:
    item = model()
    create(scratch, item)
    run(scratch, "INSERT INTO users_item SELECT generate_series(1, 2500)")
    run(scratch, "INSERT INTO users_item SELECT generate_series(2501, 5000)")
    field = added(models.PositiveIntegerField(default=7), item, "rank")
    with scratch.schema_editor() as editor:
        editor.add_field(item, field)
    assert run(scratch, "SELECT rank, count(*) FROM users_item GROUP BY rank") == [
        (7, 5000)
    ]
    rank = next(c for c in described(scratch)["columns"] if c.name == "rank")
    assert (rank.null_ok, rank.default) == (False, None)
    for wrong in ("NULL", "-1"):
        with pytest.raises(IntegrityError):
            run(scratch, f"INSERT INTO users_item VALUES (0, {wrong})")


def test_a_not_null_column_without_default_is_refused_before_anything_changed(
    scratch: DatabaseWrapper,
) -> None:
    item = model()
    create(scratch, item)
    run(scratch, "INSERT INTO users_item VALUES (1)")
    field = added(models.IntegerField(), item, "rank")
    with (
        scratch.schema_editor() as editor,
        pytest.raises(IntegrityError, match="give the field a default"),
    ):
        editor.add_field(item, field)
    assert len(described(scratch)["columns"]) == 1


def test_a_new_type_keeps_every_index_and_constraint(scratch: DatabaseWrapper) -> None:
    options = {
        "unique_together": [("name", "size")],
        "indexes": [
            models.Index(Lower("name"), name="item_lower"),
            models.Index(
                fields=["size"], name="item_part", condition=models.Q(name="x")
            ),
        ],
        "constraints": [
            models.CheckConstraint(condition=~models.Q(name=""), name="item_named"),
            models.UniqueConstraint(
                "name", name="item_some", condition=models.Q(size__gt=9)
            ),
        ],
    }
    short = models.CharField(max_length=5, unique=True)
    long = models.CharField(max_length=50, unique=True)
    before = build("Before", short, options)
    after = build("After", long, options)
    create(scratch, before)
    run(
        scratch,
        "INSERT INTO users_item (id, name, size) VALUES (1, 'a', 1), (2, 'b', 20)",
    )
    was = described(scratch)["constraints"]
    alter(scratch, before, after, "name")
    found = described(scratch)
    assert found["constraints"] == was
    name = next(c for c in found["columns"] if c.name == "name")
    assert (name.display_size, name.null_ok) == (50, False)
    assert run(scratch, "SELECT id, name FROM users_item ORDER BY id") == [
        (1, "a"),
        (2, "b"),
    ]
    left = "SELECT attname FROM pg_attribute WHERE attrelid = 'users_item'::regclass AND attnum > 0 AND NOT attisdropped"
    assert {n for (n,) in run(scratch, left)} == {"id", "name", "size"}


def test_a_value_that_does_not_fit_leaves_the_column_as_it_was(
    scratch: DatabaseWrapper,
) -> None:
    before = build("Before", models.CharField(max_length=50), {})
    after = build("After", models.CharField(max_length=5), {})
    create(scratch, before)
    run(
        scratch,
        "INSERT INTO users_item (id, name, size) VALUES (1, 'too long for five', 1)",
    )
    was = described(scratch)
    with pytest.raises(DataError):
        alter(scratch, before, after, "name")
    assert described(scratch) == was


def test_rows_that_break_a_constraint_leave_none(scratch: DatabaseWrapper) -> None:
    item = build("Item", models.CharField(max_length=50), {})
    create(scratch, item)
    run(scratch, "INSERT INTO users_item (id, name, size) VALUES (1, 'a', -1)")
    check = models.CheckConstraint(condition=models.Q(size__gt=0), name="item_size")
    with scratch.schema_editor() as editor, pytest.raises(IntegrityError):
        editor.add_constraint(item, check)
    assert "item_size" not in described(scratch)["constraints"]


def test_the_same_table_is_taken_over_and_another_is_an_error(
    scratch: DatabaseWrapper,
) -> None:
    item = build("Item", models.CharField(max_length=50), {})
    create(scratch, item)
    create(scratch, item)
    other = build("Other", models.CharField(max_length=60, null=True), {})
    with pytest.raises(
        ProgrammingError,
        match=r"name is character varying\(50\), not character varying\(60\)",
    ):
        create(scratch, other)


def test_what_cannot_be_done_changes_nothing(scratch: DatabaseWrapper) -> None:
    item = build("Item", models.CharField(max_length=50), {})
    create(scratch, item)
    run(scratch, "CREATE VIEW names AS SELECT name FROM users_item")
    was = described(scratch)
    longer = build("Longer", models.CharField(max_length=60), {})
    size: Any = models.F("size")
    generated = added(
        models.GeneratedField(
            expression=size,
            output_field=models.IntegerField(),
            db_persist=True,
        ),
        item,
        "twin",
    )
    with scratch.schema_editor() as editor:
        with pytest.raises(NotSupportedError, match="primary key"):
            editor.remove_field(item, item._meta.pk)
        with pytest.raises(NotSupportedError, match="primary key"):
            editor.alter_field(
                item,
                item._meta.pk,
                added(models.TextField(primary_key=True), item, "id"),
            )
        with pytest.raises(NotSupportedError, match="generated column"):
            editor.add_field(item, generated)
        with pytest.raises(NotSupportedError, match="view names"):
            editor.alter_field(
                item, item._meta.get_field("name"), longer._meta.get_field("name")
            )
    assert described(scratch) == was


def test_foreign_keys_to_tables_that_come_later_are_added_at_the_end(
    scratch: DatabaseWrapper,
) -> None:
    class Child(models.Model):  # noqa: DJ008 - nobody prints it
        parent = models.ForeignKey("users.Parent", models.CASCADE)

        class Meta(TypedModelMeta):
            app_label = "users"

    class Parent(models.Model):  # noqa: DJ008
        id = models.AutoField(primary_key=True)
        favourite = models.ForeignKey(Child, models.CASCADE, null=True)

        class Meta(TypedModelMeta):
            app_label = "users"

    with scratch.schema_editor() as editor:
        editor.create_model(Child)
        editor.create_model(Parent)
    query = (
        "SELECT conrelid::regclass::text, convalidated, format_type(atttypid, -1) "
        "FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1] "
        "WHERE contype = 'f' AND connamespace = 'scratch'::regnamespace ORDER BY 1"
    )
    assert run(scratch, query) == [
        ("users_child", True, "bigint"),
        ("users_parent", True, "bigint"),
    ]


def test_a_check_whose_name_ends_like_it_is_not_taken_for_not_null(
    scratch: DatabaseWrapper,
) -> None:
    check = models.CheckConstraint(condition=models.Q(size__gt=0), name="size_notnull")
    fields: dict[str, Any] = {"options": {"constraints": [check]}}
    before = model("Before", size=models.IntegerField(null=True), **fields)
    fields = {"options": {"constraints": [check]}}
    after = model("After", size=models.IntegerField(), **fields)
    create(scratch, before)
    alter(scratch, before, after, "size")
    with pytest.raises(IntegrityError):
        run(scratch, "INSERT INTO users_item (id, size) VALUES (1, NULL)")
    alter(scratch, after, before, "size")
    run(scratch, "INSERT INTO users_item (id, size) VALUES (1, NULL)")
    with pytest.raises(IntegrityError, match="size_notnull"):
        run(scratch, "INSERT INTO users_item (id, size) VALUES (2, -1)")


def test_a_constraint_is_validated_in_the_background(scratch: DatabaseWrapper) -> None:
    item = build("Item", models.CharField(max_length=50), {})
    create(scratch, item)
    run(scratch, "INSERT INTO users_item (id, name, size) VALUES (1, 'a', -1)")
    run(
        scratch,
        "ALTER TABLE users_item ADD CONSTRAINT item_size CHECK (size > 0) NOT VALID",
    )
    state = ProjectState()
    state.add_model(ModelState.from_model(item))
    operation = ValidateConstraint("Item", "item_size")
    with scratch.schema_editor() as editor, pytest.raises(IntegrityError):
        operation.database_forwards("users", editor, state, state)
    run(scratch, "UPDATE users_item SET size = 1")
    with scratch.schema_editor() as editor:
        operation.database_forwards("users", editor, state, state)
    query = "SELECT convalidated FROM pg_constraint WHERE conname = 'item_size'"
    assert run(scratch, query) == [(True,)]
