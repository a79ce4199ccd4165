"""The sample users."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from config.api import bulk_import
from ops.paths import PROJECT
from ops.sample_users import SAMPLE
from users import services
from users.models import User

pytestmark = pytest.mark.django_db


def test_the_sample_is_inserted_once() -> None:
    for created, exists in ((7, 0), (0, 7)):
        out = StringIO()
        call_command("seed_users", "--count=7", "--format=json", stdout=out)
        assert json.loads(out.getvalue()) == {
            "created": created, "exists": exists, "failed": 0,
        }  # fmt: skip
    assert User.objects.filter(email="ada@example.com").exists()


def test_seeding_has_all_the_time_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_import, "IMPORT_SECONDS", 0.0)
    out = StringIO()
    call_command("seed_users", "--format=json", stdout=out)
    assert json.loads(out.getvalue())["created"] == len(SAMPLE)


def test_seeding_without_a_database_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(users: list[User], **options: str) -> None:
        raise OperationalError("connection lost")

    monkeypatch.setattr(services, "insert_missing", failing)
    with pytest.raises(CommandError, match="Run it again"):
        call_command("seed_users", stdout=StringIO())


def test_the_sample_is_no_part_of_what_lambda_gets() -> None:
    packaged = [*(PROJECT / "config").rglob("*.py"), *(PROJECT / "users").rglob("*.py")]
    assert packaged
    for user in SAMPLE:
        assert not [path for path in packaged if user["email"] in path.read_text()]
