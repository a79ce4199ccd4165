"""Test databases as schemas, made and dropped on the sandbox."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.dsql.base import DatabaseWrapper
from config.dsql.creation import DatabaseCreation
from config.dsql.options import parse_schema
from tests.config.dsql.conftest import run
from users.models import User


@pytest.fixture(autouse=True)
def own_settings(settings: Any, other: DatabaseWrapper) -> Iterator[None]:
    """Django writes the test database's name there; and whatever is left is dropped."""
    yield
    other.close()
    other.settings_dict["NAME"] = "postgres"
    for schema in schemas(other):
        run(other, f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def creation(other: DatabaseWrapper) -> DatabaseCreation:
    made = other.creation
    assert isinstance(made, DatabaseCreation)
    return made


def schemas(connection: DatabaseWrapper) -> list[str]:
    query = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'test\\_other%'"
    return sorted(row[0] for row in run(connection, query))


def create(creation: DatabaseCreation, **options: Any) -> str:
    options = {"autoclobber": True, "serialize": False, "verbosity": 0} | options
    return str(creation.create_test_db(**options))


def add_user() -> None:
    User(name="x", email=f"{uuid.uuid4()}@example.com").save(using="other")


def users() -> int:
    return User.objects.using("other").count()


def test_a_test_database_is_a_migrated_schema_and_goes_away(
    other: DatabaseWrapper, creation: DatabaseCreation
) -> None:
    assert create(creation) == other.settings_dict["NAME"] == "postgres.test_other"
    add_user()
    assert users() == 1
    assert run(other, "SELECT current_schema(), current_database()") == [
        ("test_other", "postgres")
    ]
    assert schemas(other) == ["test_other"]
    creation.destroy_test_db("postgres", verbosity=0)
    assert other.settings_dict["NAME"] == "postgres"
    assert schemas(other) == []


def test_the_name_can_be_chosen(creation: DatabaseCreation) -> None:
    creation.connection.settings_dict["TEST"]["NAME"] = "test_other_mine"
    assert create(creation) == "postgres.test_other_mine"
    creation.destroy_test_db("postgres", verbosity=0)


def test_keepdb_keeps_the_rows(
    other: DatabaseWrapper, creation: DatabaseCreation
) -> None:
    create(creation, keepdb=True)
    add_user()
    creation.destroy_test_db("postgres", verbosity=0, keepdb=True)
    assert schemas(other) == ["test_other"]
    create(creation, keepdb=True)
    assert users() == 1


def test_a_leftover_is_replaced_only_with_consent(
    other: DatabaseWrapper,
    creation: DatabaseCreation,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    create(creation)
    add_user()
    other.close()
    other.settings_dict["NAME"] = "postgres"
    asked: list[str] = []
    monkeypatch.setattr("builtins.input", lambda question: asked.append(question))
    with pytest.raises(SystemExit) as ended:
        create(creation, autoclobber=False)
    assert ended.value.code == 1
    assert asked[0].startswith("Schema test_other remains from an earlier run.")
    assert "Tests cancelled." in capsys.readouterr().err
    assert schemas(other) == ["test_other"]
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    create(creation, autoclobber=False)
    assert users() == 0


def test_parallel_workers_have_schemas_of_their_own(
    other: DatabaseWrapper, creation: DatabaseCreation
) -> None:
    create(creation)
    for suffix in "12":
        creation.clone_test_db(suffix, verbosity=0)
    assert schemas(other) == ["test_other", "test_other_1", "test_other_2"]
    assert other.settings_dict["NAME"] == "postgres.test_other"
    other.close()
    other.settings_dict.update(creation.get_test_db_clone_settings("1"))
    add_user()
    counts = [
        run(other, f"SELECT count(*) FROM test_other{worker}.users_user")[0][0]
        for worker in ("", "_1", "_2")
    ]
    assert counts == [0, 1, 0]
    other.close()
    other.settings_dict["NAME"] = "postgres.test_other"
    for suffix in "12":
        creation.destroy_test_db(suffix=suffix, verbosity=0)
    assert schemas(other) == ["test_other"]


def test_a_leftover_clone_is_replaced_unless_kept(
    other: DatabaseWrapper, creation: DatabaseCreation
) -> None:
    create(creation)
    creation.clone_test_db("1", verbosity=0)
    mark = "CREATE TABLE test_other_1.leftover (a bigint)"
    find = "SELECT to_regclass('test_other_1.leftover')::text"
    run(other, mark)
    creation.clone_test_db("1", verbosity=0, keepdb=True)
    assert run(other, find) == [("test_other_1.leftover",)]
    creation.clone_test_db("1", verbosity=0)
    assert run(other, find) == [(None,)]


def test_a_worker_whose_name_is_no_schema_is_refused(
    creation: DatabaseCreation,
) -> None:
    with pytest.raises(ImproperlyConfigured, match="one database"):
        creation.get_test_db_clone_settings("-1")


@pytest.mark.parametrize(
    ("name", "schema"),
    [("postgres", None), ("", None), (None, None), ("postgres.a_1", "a_1")],
)
def test_a_name_is_the_database_or_a_schema_of_it(
    name: str | None, schema: str | None
) -> None:
    assert parse_schema(name) == schema


@pytest.mark.parametrize(
    "name",
    [
        "app",
        "app.public",
        "postgres.Mixed",
        "postgres.a-b",
        "postgres.a b",
        "postgres.1a",
        "postgres." + "x" * 64,
        "postgres.a.b",
        "postgres.a -c role=b",
    ],
)
def test_any_other_name_is_refused_with_the_way_out(
    other: DatabaseWrapper, name: str
) -> None:
    other.settings_dict["NAME"] = name
    with pytest.raises(ImproperlyConfigured) as caught:
        other.get_connection_params()
    assert str(caught.value) == (
        f"NAME is {name!r}, but a DSQL cluster has one database: use 'postgres', or "
        f"'postgres.<schema>' to work in another schema than public."
    )
