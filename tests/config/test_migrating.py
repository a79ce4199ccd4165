import pytest
from django.core.management.base import CommandError
from django.db import connections

from config.migrating import require_admin


@pytest.fixture
def alias(monkeypatch: pytest.MonkeyPatch) -> str:
    settings = connections["default"].settings_dict
    monkeypatch.setitem(settings, "USER", "app")
    return "default"


def test_another_role_than_admin_is_told_the_way(alias: str) -> None:
    with pytest.raises(CommandError) as caught:
        require_admin(using=alias, plan=["something"])
    assert str(caught.value) == (
        "The database role app may not change the schema; run `manage.py dsql_database` with "
        "an operator's credentials instead."
    )


def test_nothing_to_do_is_no_error(alias: str) -> None:
    require_admin(using=alias, plan=[])


def test_admin_may(alias: str) -> None:
    connections[alias].settings_dict["USER"] = "admin"
    require_admin(using=alias, plan=["something"])
