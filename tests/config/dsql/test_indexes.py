"""Indexes: what is built, what is dropped from them, what is refused."""

from typing import Any

import pytest
from django.db import (
    IntegrityError,
    NotSupportedError,
    models,
)
from django.db.models.functions import Collate
from django.test.utils import isolate_apps

from config.dsql.base import DatabaseWrapper
from tests.config.dsql.conftest import run
from tests.config.dsql.models import alter, build, create, described


@pytest.fixture(autouse=True)
def isolated() -> Any:
    with isolate_apps("users"):
        yield


def test_duplicates_are_named_and_leave_no_index(scratch: DatabaseWrapper) -> None:
    before = build("Before", models.CharField(max_length=50), {})
    after = build("After", models.CharField(max_length=50, unique=True), {})
    create(scratch, before)
    run(
        scratch,
        "INSERT INTO users_item (id, name, size) VALUES (1, 'twice', 1), (2, 'twice', 1)",
    )
    was = described(scratch)
    with pytest.raises(IntegrityError, match="twice"):
        alter(scratch, before, after, "name")
    assert described(scratch) == was


def test_order_and_harmless_operator_classes_are_dropped(
    scratch: DatabaseWrapper,
) -> None:
    indexes = [
        models.Index(fields=["-size", "name"], name="item_order"),
        models.Index(models.F("size").desc(nulls_last=True), name="item_nulls"),
        models.Index(
            fields=["name"], name="item_class", opclasses=["varchar_pattern_ops"]
        ),
        models.Index(Collate("name", "C"), name="item_c"),
    ]
    create(
        scratch, build("Item", models.CharField(max_length=50), {"indexes": indexes})
    )
    query = "SELECT indexdef FROM pg_indexes WHERE tablename = 'users_item'"
    found = " ".join(text for (text,) in run(scratch, query))
    assert "DESC" not in found
    assert "(size NULLS FIRST)" in found  # read backwards: last
    assert found.count("CREATE INDEX") == 4


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (
            models.Index(fields=["name"], name="i", opclasses=["gin_trgm_ops"]),
            "operator classes",
        ),
        (models.Index(Collate("name", "de-x-icu"), name="i"), "collation C only"),
    ],
)
def test_an_index_that_would_answer_otherwise_is_refused(
    scratch: DatabaseWrapper, index: models.Index, message: str
) -> None:
    item = build("Item", models.CharField(max_length=50), {})
    create(scratch, item)
    with (
        scratch.schema_editor() as editor,
        pytest.raises(NotSupportedError, match=message),
    ):
        editor.add_index(item, index)


def test_a_plain_create_index_is_built_in_the_background(
    scratch: DatabaseWrapper,
) -> None:
    create(scratch, build("Item", models.CharField(max_length=50), {}))
    run(scratch, "CREATE INDEX item_raw ON users_item (name)")
    assert described(scratch)["constraints"]["item_raw"]["columns"] == ["name"]


def test_included_columns_are_not_introspected_as_unique(
    scratch: DatabaseWrapper,
) -> None:
    options = {
        "constraints": [
            models.UniqueConstraint(fields=["name"], include=["size"], name="item_uniq")
        ],
        "indexes": [models.Index(fields=["name"], include=["size"], name="item_plain")],
    }
    create(scratch, build("Item", models.CharField(max_length=50), options))
    found = described(scratch)["constraints"]
    assert found["item_uniq"]["columns"] == ["name"]
    assert found["item_plain"]["columns"] == ["name", "size"]


def test_an_invalid_index_is_not_introspected_and_is_reported(
    scratch: DatabaseWrapper, superuser: Any
) -> None:
    create(scratch, build("Item", models.CharField(max_length=50), {}))
    run(scratch, "CREATE INDEX item_raw ON users_item (name)")
    superuser.execute("SET allow_system_table_mods = on")
    superuser.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'scratch.item_raw'::regclass"
    )
    assert "item_raw" not in described(scratch)["constraints"]
    found = [m for m in scratch.validation.check() if m.id == "dsql.W003"]
    assert [m.msg for m in found] == [
        "Index item_raw of users_item is not valid: its build failed or still runs."
    ]


def test_a_plain_create_index_may_name_its_schema(scratch: DatabaseWrapper) -> None:
    create(scratch, build("Item", models.CharField(max_length=50), {}))
    run(scratch, "CREATE INDEX Item_Raw ON scratch.Users_Item (name)")
    run(scratch, 'CREATE INDEX "Item_Raw" ON "scratch"."users_item" (size)')
    found = described(scratch)["constraints"]
    assert found["item_raw"]["columns"] == ["name"]
    assert found["Item_Raw"]["columns"] == ["size"]


def test_an_index_of_another_schema_that_fails_is_dropped_there(
    scratch: DatabaseWrapper,
) -> None:
    create(scratch, build("Item", models.CharField(max_length=50), {}))
    run(
        scratch,
        "INSERT INTO users_item (id, name, size) VALUES (1, 'a', 1), (2, 'a', 1)",
    )
    scratch.close()
    scratch.settings_dict["NAME"] = "postgres"
    with pytest.raises(IntegrityError):
        run(scratch, "CREATE UNIQUE INDEX item_raw ON scratch.users_item (name)")
    assert run(scratch, "SELECT to_regclass('scratch.item_raw')") == [(None,)]


def test_a_unique_constraint_with_a_harmless_operator_class_is_removed(
    scratch: DatabaseWrapper,
) -> None:
    unique = models.UniqueConstraint(
        fields=["name"], name="item_unique", opclasses=["varchar_pattern_ops"]
    )
    item = build("Item", models.CharField(max_length=50), {"constraints": [unique]})
    create(scratch, item)
    with scratch.schema_editor() as editor:
        editor.remove_constraint(item, unique)
    assert "item_unique" not in described(scratch)["constraints"]


def test_duplicates_under_an_ordered_expression_are_named(
    scratch: DatabaseWrapper,
) -> None:
    item = build("Item", models.CharField(max_length=50), {})
    create(scratch, item)
    run(
        scratch,
        "INSERT INTO users_item (id, name, size) VALUES (1, 'a', 7), (2, 'b', 7)",
    )
    unique = models.UniqueConstraint(
        models.F("size").desc(nulls_last=True), name="item_unique"
    )
    with (
        scratch.schema_editor() as editor,
        pytest.raises(IntegrityError, match=r"Duplicates: \[7\] \(2 times\)"),
    ):
        editor.add_constraint(item, unique)
