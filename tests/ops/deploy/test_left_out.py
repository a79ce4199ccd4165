"""What is left out of the package is missed by nothing that serves."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from django.db import connection

from ops.deploy.left_out import NEEDED, is_left_out
from ops.local.sandbox import lifecycle
from ops.paths import PROJECT
from users.models import User


@pytest.fixture
def served(sandbox: lifecycle.Status, transactional_db: None) -> dict[str, Any]:
    environ = {
        "PATH": os.environ["PATH"], **sandbox.environ(),
        "DJANGO_SETTINGS_MODULE": "config.settings", "DJANGO_SECRET_KEY": "k" * 50,
        "API_AUTH": "none", "CORS_ALLOWED_ORIGINS": "https://app.example",
        "LOG_FORMAT": "json", "METRICS_NAMESPACE": "x",
    }  # fmt: skip
    name = connection.settings_dict["NAME"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.ops.deploy.serves_without", name],
        cwd=PROJECT, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    User.objects.all().delete()
    assert done.returncode == 0, done.stderr
    assert "is not in the package" not in done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_route_is_served_without_what_is_left_out(served: dict[str, Any]) -> None:
    statuses = served["statuses"]
    assert statuses[0] == 201
    assert not [status for status in statuses if status >= 500], statuses
    assert {200, 201, 204, 400, 404, 405, 409, 412, 415} <= set(statuses)


def test_what_serves_imports_no_schema_editor_and_nothing_of_the_operators(
    served: dict[str, Any],
) -> None:
    modules = set(served["modules"])
    for name in (
        "config.dsql.schema", "config.dsql.introspection", "config.dsql.creation",
        "config.dsql.validation", "django.contrib.admin", "django.test",
        "django.contrib.postgres.fields", "botocore", "boto3", "zappa", "werkzeug",
    ):  # fmt: skip
        assert name not in modules, name
    assert not [name for name in modules if name.startswith("config.dsql.ddl.")]


def test_the_exceptions_of_the_list_are_needed(served: dict[str, Any]) -> None:
    modules = set(served["modules"])
    for name in NEEDED:
        module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        assert module in modules, name
        assert not is_left_out(name)


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("django/contrib/admin/options.py", True),
        ("django/contrib/auth/__init__.py", False),
        ("django/contrib/auth/models.py", True),
        ("django/db/models/base.py", False),
        ("config/settings_ops.py", True),
        ("config/settings.py", False),
        ("config/dsql/schema.py", False),
        ("config/api/openapi.json", False),
        ("django-5.2.dist-info/METADATA", False),
        ("django-5.2.dist-info/RECORD", True),
    ],
)
def test_the_list_names_files(name: str, left_out: bool) -> None:
    assert is_left_out(name) is left_out
