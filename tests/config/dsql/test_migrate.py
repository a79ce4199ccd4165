"""``migrate`` beside another session that changes the schema."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from config.dsql.base import DatabaseWrapper
from tests.config.dsql.conftest import run

MIGRATION = """
from django.db import migrations, models

def add(apps, schema_editor):
    alias = schema_editor.connection.alias
    apps.get_model("users", "Entry").objects.using(alias).create(text="once")

class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel(
            "Entry",
            [("id", models.BigAutoField(primary_key=True)), ("text", models.TextField())],
        ),
        migrations.RunPython(add),
        migrations.AddField("Entry", "note", models.TextField(default="")),
    ]
"""


@pytest.fixture
def migrations(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "entries"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "0001_initial.py").write_text(MIGRATION)
    monkeypatch.syspath_prepend(tmp_path)
    settings.MIGRATION_MODULES = {"users": package.name}


@contextmanager
def rival(connection: DatabaseWrapper, peer: DatabaseWrapper) -> Iterator[set[str]]:
    """Another session changes the schema before this one first runs a statement."""
    disturbed: set[str] = set()

    def disturb(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if (statement := f"{sql} {params}") not in disturbed:
            table = f"scratch.rival{len(disturbed)}"
            run(peer, f"CREATE TABLE {table} (id bigint PRIMARY KEY)")
            disturbed.add(statement)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(disturb):
        yield disturbed


@pytest.mark.usefixtures("migrations")
def test_schema_changes_beside_it_repeat_statements_not_operations(
    scratch: DatabaseWrapper, peer: DatabaseWrapper
) -> None:
    with rival(scratch, peer) as disturbed:
        call_command("migrate", "users", database="other", verbosity=0)
    assert len(disturbed) > 20
    assert run(scratch, "SELECT text, note FROM users_entry") == [("once", "")]
    assert run(scratch, "SELECT app, name FROM django_migrations") == [
        ("users", "0001_initial")
    ]
