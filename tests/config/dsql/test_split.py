"""More rows than a transaction takes, and results read page by page."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DataError, OperationalError, connections, models, transaction
from django.db.models import Value
from django.db.models.functions import Concat
from django.test.utils import isolate_apps
from django_stubs_ext.db.models import TypedModelMeta

from config.dsql.base import DatabaseWrapper
from config.dsql.keyset import by_key
from config.dsql.split import split_transactions

ROWS = 3500


@pytest.fixture
def tag(scratch: DatabaseWrapper) -> Any:
    with isolate_apps("users"):

        class Tag(models.Model):  # noqa: DJ008 - nobody prints it
            label = models.CharField(max_length=20)

            class Meta(TypedModelMeta):
                app_label = "users"

        with scratch.schema_editor() as editor:
            editor.create_model(Tag)
        yield Tag


def many(tag: Any, count: int = ROWS) -> list[Any]:
    return [tag(label=f"tag {n}") for n in range(count)]


def test_the_error_at_the_limit_names_the_way_out(tag: Any) -> None:
    with pytest.raises(OperationalError, match=r"split_transactions.*atomic=False"):
        tag.objects.using("other").bulk_create(many(tag))
    assert tag.objects.using("other").count() == 0


def test_work_is_committed_batch_by_batch(tag: Any) -> None:
    seen: list[int] = []
    with split_transactions("other", progress=seen.append):
        tag.objects.using("other").bulk_create(many(tag))
        assert tag.objects.using("other").update(label="same") == ROWS
        with transaction.atomic("other"):
            for row in tag.objects.using("other")[:5]:
                row.save()
        deleted, _ = tag.objects.using("other").filter(label="same").delete()
    assert deleted == ROWS
    assert tag.objects.using("other").count() == 0
    assert seen == sorted(seen)
    assert len(seen) >= 9


def test_rows_are_chosen_before_the_first_is_deleted(tag: Any) -> None:
    rows = tag.objects.using("other")
    with split_transactions("other", rows=100):
        rows.bulk_create(many(tag, 500))
        first = rows.order_by("pk")[:150]
        assert rows.filter(pk__in=first.values("pk")).delete()[0] == 150
    assert rows.count() == 350
    assert not rows.filter(label="tag 149").exists()


def test_a_split_inside_another_leaves_it_in_force(tag: Any) -> None:
    with split_transactions("other"):
        with split_transactions("other", rows=100):
            tag.objects.using("other").bulk_create(many(tag, 150))
        tag.objects.using("other").bulk_create(many(tag))
    assert tag.objects.using("other").count() == ROWS + 150


@pytest.fixture
def marked(tag: Any, scratch: DatabaseWrapper) -> Any:
    """Three objects; the filter's join yields each of them twice."""

    class Mark(models.Model):  # noqa: DJ008 - nobody prints it
        owner = models.ForeignKey(tag, models.CASCADE, related_name="marks")
        number = models.IntegerField()

        class Meta(TypedModelMeta):
            app_label = "users"
            apps = tag._meta.apps

    with scratch.schema_editor() as editor:
        editor.create_model(Mark)
    rows = tag.objects.using("other")
    made = rows.bulk_create(many(tag, 3))
    Mark._default_manager.using("other").bulk_create(
        [Mark(owner=each, number=n) for each in made for n in range(2)]
    )
    return rows.filter(marks__number__gte=0)


def test_a_row_that_a_join_yields_twice_is_changed_once(tag: Any, marked: Any) -> None:
    with split_transactions("other", rows=1):
        assert marked.update(label=Concat("label", Value("!"))) == 3
    labels = tag.objects.using("other").values_list("label", flat=True)
    assert set(labels) == {"tag 0!", "tag 1!", "tag 2!"}


@pytest.mark.parametrize("page", [1, 2, 3, 100])
def test_by_key_yields_a_row_that_a_join_yields_twice_once(
    marked: Any, page: int
) -> None:
    assert [row.label for row in by_key(marked, page=page)] == [
        "tag 0",
        "tag 1",
        "tag 2",
    ]


def test_an_error_leaves_what_was_committed(tag: Any) -> None:
    rows = [*many(tag, 2500), tag(label="x" * 21)]
    with pytest.raises(DataError), split_transactions("other", rows=1000):
        tag.objects.using("other").bulk_create(rows)
    assert tag.objects.using("other").count() == 2000
    with pytest.raises(DataError):
        tag.objects.using("other").bulk_create(rows)
    assert tag.objects.using("other").count() == 2000


def test_is_refused_inside_a_transaction_and_with_a_wrong_size() -> None:
    with (
        pytest.raises(ValueError, match="1 to 1500"),
        split_transactions("default", rows=3000),
    ):
        pass


@pytest.mark.django_db
def test_is_refused_in_an_atomic_block() -> None:
    with (
        pytest.raises(RuntimeError, match=r"inside atomic.*atomic=False"),
        split_transactions(),
    ):
        pass


def test_another_backend_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any
) -> None:
    monkeypatch.setitem(
        connections.databases,
        "lite",
        {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
    )
    connections.configure_settings(connections.databases)
    with django_db_blocker.unblock(), split_transactions("lite", rows=1):
        with connections["lite"].cursor() as cursor:
            cursor.execute("CREATE TABLE t (a int)")
            cursor.execute("INSERT INTO t VALUES (1), (2)")
            cursor.execute("SELECT count(*) FROM t")
            assert cursor.fetchone() == (2,)
        # Django's close() keeps a database in memory open.
        connections["lite"].connection.close()
    del connections["lite"]


def test_by_key_yields_everything_in_pages(
    tag: Any, scratch: DatabaseWrapper, django_assert_num_queries: Any
) -> None:
    with split_transactions("other"):
        tag.objects.using("other").bulk_create(many(tag, 1050))
    with django_assert_num_queries(3, connection=scratch):
        keys = [row.pk for row in by_key(tag.objects.using("other"), page=500)]
    assert keys == sorted(keys)
    assert len(keys) == 1050
    for wrong in (tag.objects.order_by("label"), tag.objects.all()[:3]):
        with pytest.raises(TypeError):
            next(by_key(wrong))
    with pytest.raises(TypeError):
        next(by_key(tag.objects.using("other").values("label")))


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_loaddata_commits_per_batch(tmp_path: Path, capsys: Any) -> None:
    from users.models import User

    fixture = tmp_path / "users.json"
    fixture.write_text(
        json.dumps(
            [
                {
                    "model": "users.user",
                    "pk": f"00000000-0000-4000-8000-{n:012}",
                    "fields": {"name": "N", "email": f"{n}@example.com"},
                }
                for n in range(3100)
            ]
        )
    )
    with pytest.raises(OperationalError, match="split_transactions"):
        call_command("loaddata", str(fixture))
    assert User.objects.count() == 0
    call_command("loaddata", str(fixture), "--commit-per-batch", "1000")
    assert User.objects.count() == 3100
    assert "3000 rows committed" in capsys.readouterr().err
