from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.contrib.sessions.middleware import SessionMiddleware
from django.db import connection, models
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Lower
from django.test.utils import isolate_apps

from config.dsql.middleware import RetryConflicts

pytestmark = pytest.mark.django_db


def validation() -> Any:
    return connection.validation


def thing(field: Any = None, **options: Any) -> Any:
    """A model of one field and those options."""
    with isolate_apps("users"):
        body = {
            "value": field or models.TextField(),
            "Meta": type("Meta", (), {"app_label": "users", **options}),
            "__module__": __name__,
        }
        return type("Thing", (models.Model,), body)


def found(field: Any = None, **options: Any) -> set[str]:
    """The ids of what is found about such a model."""
    made = thing(field, **options)
    messages = [
        *connection.validation.check_field(made._meta.get_field("value")),
        *validation()._check_model(made),
    ]
    assert all(message.hint for message in messages if message.is_serious())
    return {message.id for message in messages}


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (ArrayField(models.IntegerField()), {"dsql.E001"}),
        (models.JSONField(unique=True), {"dsql.E008"}),
        (models.TextField(db_tablespace="fast"), {"dsql.W002"}),
        (models.GenericIPAddressField(), set()),
    ],
)
def test_fields(field: Any, expected: set[str]) -> None:
    assert found(field) == expected


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (models.F("value"), {"dsql.E008"}),
        (models.F("value__a"), {"dsql.E008"}),
        (models.F("value__a").desc(), {"dsql.E008"}),
        (KeyTextTransform("a", "value"), set()),
        (models.F("missing"), set()),
    ],
)
def test_json_in_an_expression(key: Any, expected: set[str]) -> None:
    index = models.Index(key, name="i")
    constraint = models.UniqueConstraint(key, name="u")
    for options in ({"indexes": [index]}, {"constraints": [constraint]}):
        assert found(models.JSONField(), **options) == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"indexes": [GinIndex(fields=["value"], name="i")]}, {"dsql.E003"}),
        ({"indexes": [models.Index(fields=["-value"], name="i")]}, {"dsql.W001"}),
        ({"indexes": [models.Index(Lower("value"), name="i")]}, set()),
        (
            {
                "indexes": [
                    models.Index(fields=["value"], name="i", opclasses=["gin_trgm_ops"])
                ]
            },
            {"dsql.E005"},
        ),
        (
            {
                "indexes": [
                    models.Index(fields=["value"], name=f"i{n}") for n in range(24)
                ]
            },
            {"dsql.E007"},
        ),
    ],
)
def test_models(options: dict[str, Any], expected: set[str]) -> None:
    assert found(**options) == expected


def test_a_collation_is_refused_by_djangos_own_check() -> None:
    made = thing(models.CharField(max_length=5, db_collation="de-x-icu"))
    (error,) = made.check(databases=["default"])
    assert error.id == "fields.E190"


LATE_KEY = """
from django.db import migrations, models

class Migration(migrations.Migration):
    operations = [migrations.AddField("Page", "key", models.UUIDField(primary_key=True))]
"""


@pytest.mark.parametrize(("app", "expected"), [("other", ["dsql.E009"]), ("users", [])])
def test_a_key_that_is_added_late_matters_where_its_table_is(
    tmp_path: Path,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    app: str,
    expected: list[str],
) -> None:
    package = tmp_path / f"late_{app}"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "0001_key.py").write_text(LATE_KEY)
    monkeypatch.syspath_prepend(tmp_path)
    settings.MIGRATION_MODULES = {"users": package.name}
    elsewhere = SimpleNamespace(allow_migrate=lambda _db, label, **_: label != app)
    settings.DATABASE_ROUTERS = [elsewhere]
    assert [each.id for each in validation()._check_migrations()] == expected


def test_the_product_has_nothing_to_find() -> None:
    assert connection.validation.check() == []


RETRY, DEADLINE = (
    "config.dsql.middleware.RetryConflicts",
    "config.dsql.deadlines.RequestDeadline",
)
SESSION, CSRF, AUTH, MESSAGES = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
)


class OwnSessions(SessionMiddleware):
    pass


class OwnRetry(RetryConflicts):
    pass


@pytest.mark.parametrize(
    ("middleware", "above"),
    [
        ([DEADLINE, RETRY, SESSION, CSRF, AUTH, MESSAGES], None),
        ([SESSION, CSRF, AUTH, MESSAGES], None),
        ([SESSION, RETRY, AUTH], SESSION),
        ([SESSION, AUTH, RETRY, MESSAGES], f"{SESSION}, {AUTH}"),
        ([CSRF, RETRY], CSRF),
        ([MESSAGES, f"{__name__}.OwnRetry"], MESSAGES),
        ([f"{__name__}.OwnSessions", RETRY], f"{__name__}.OwnSessions"),
        (["no.such.Middleware", RETRY, SESSION], None),
        ([], None),
    ],
)
def test_middleware_that_stores_something_stands_below_the_repeats(
    middleware: list[str], above: str | None, settings: Any
) -> None:
    settings.MIDDLEWARE = middleware
    found = [m for m in validation().check() if m.id == "dsql.W004"]
    assert len(found) == (above is not None)
    for message in found:
        assert f"below {above} in MIDDLEWARE" in message.msg
        assert message.hint
