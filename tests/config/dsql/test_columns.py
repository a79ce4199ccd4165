"""Columns that are added, filled and made NOT NULL."""

from collections.abc import Iterator

import pytest
from django.db import IntegrityError, models
from django.test.utils import isolate_apps

from config.dsql.base import DatabaseWrapper
from config.dsql.ddl.batches import Batches
from tests.config.dsql.conftest import run
from tests.config.dsql.items import (
    add,
    alter,
    create,
    item,
    refused,
)


@pytest.fixture(autouse=True)
def isolated() -> Iterator[None]:
    with isolate_apps("users"):
        yield


def test_a_column_left_by_an_error_may_be_null_when_its_field_is_corrected(
    scratch: DatabaseWrapper,
) -> None:
    model = item()
    create(scratch, model)
    run(scratch, "INSERT INTO users_item (id) VALUES (1), (2)")
    with pytest.raises(IntegrityError, match="Duplicates"):
        add(
            scratch,
            model,
            "v",
            models.CharField(default="z", max_length=5, unique=True),
        )
    add(scratch, model, "v", models.CharField(default="z", max_length=5, null=True))
    assert not refused(scratch, "3, NULL")


def test_rows_that_become_null_while_others_are_filled_are_filled_too(
    scratch: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, changed = (
        item(v=v)
        for v in (models.IntegerField(null=True), models.IntegerField(default=7))
    )
    create(scratch, before)
    run(scratch, "INSERT INTO users_item (id, v) VALUES (1, NULL), (2, 2)")
    update = Batches.update
    seen: list[bool] = []

    def update_and_write(self: Batches, *texts: str) -> int:
        count = update(self, *texts)
        seen.append(refused(scratch, f"{10 + len(seen)}, NULL"))
        return count

    monkeypatch.setattr(Batches, "update", update_and_write)
    alter(scratch, before, changed)
    assert seen == [False, True]
    found = run(scratch, "SELECT id, v FROM users_item ORDER BY id")
    assert found == [(1, 7), (2, 2), (10, 7)]


def test_no_default_of_the_migration_stays_when_not_null_fails(
    scratch: DatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, changed = (
        item(v=v)
        for v in (models.IntegerField(null=True), models.IntegerField(default=7))
    )
    create(scratch, before)
    run(scratch, "INSERT INTO users_item (id, v) VALUES (1, NULL)")
    monkeypatch.setattr(Batches, "update", lambda *_: 0)
    with pytest.raises(IntegrityError):
        alter(scratch, before, changed)
    with pytest.raises(IntegrityError):
        add(scratch, before, "added", models.IntegerField(default=7))
    run(scratch, "INSERT INTO users_item (id) VALUES (2)")
    query = "SELECT v, added FROM users_item WHERE id = 2"
    assert run(scratch, query) == [(None, None)]
