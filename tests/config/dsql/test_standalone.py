"""The backend copied under another name into another project, which knows nothing of this one."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config import dsql
from config.dsql import options
from config.dsql.base import DatabaseWrapper
from config.dsql.middleware import MAX_BODY_SETTING

PACKAGE = Path(dsql.__file__).parent
SETTINGS = """
import os
INSTALLED_APPS = ["aurora", "stock", *INSTALLED_APPS]
MIDDLEWARE = ["aurora.deadlines.RequestDeadline", "aurora.middleware.RetryConflicts", *MIDDLEWARE]
DATABASES["default"] = {
    "ENGINE": "aurora", "HOST": os.environ["AN_ENDPOINT"], "NAME": "postgres.scratch",
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ALLOWED_HOSTS = ["testserver"]
"""
MODELS = """
from django.db import models

class Item(models.Model):
    name = models.CharField(max_length=20)
    count = models.IntegerField(default=0)

    class Meta:
        indexes = [models.Index(fields=["-count"], name="item_count")]
"""
VIEWS = """
import threading
from django.db import connection, transaction
from django.http import HttpResponse
from stock.models import Item

attempts = []

def conflict():
    Item.objects.update(count=10)
    connection.close()

@transaction.atomic
def add(request):
    item = Item.objects.get()
    attempts.append(item.count)
    if len(attempts) == 1:
        other = threading.Thread(target=conflict)
        other.start()
        other.join()
    item.count += 1
    item.save()
    return HttpResponse(item.count)
"""
PROGRAM = """
import io, json, sys
import django
django.setup()
from django.core.management import call_command
from django.core.management import get_commands
from django.db import connection
from django.test import Client, override_settings
from django.urls import path

def run(*words, **options):
    out = io.StringIO()
    call_command(*words, stdout=out, stderr=out, **options)
    return out.getvalue()

found = {"check": run("check", databases=["default"])}
run("makemigrations", "stock")
run("migrate", verbosity=0)
found["again"] = run("check", databases=["default"])
found["commands"] = {name: get_commands()[name] for name in ("loaddata", "clearsessions")}
from aurora.retry import run_transaction
from stock.models import Item
run_transaction(lambda: Item.objects.create(name="one"))
found["dump"] = run("dumpdata", "stock")
with open("rows.json", "w") as file:
    file.write(found["dump"])
found["loaddata"] = run("loaddata", "rows.json", commit_per_batch=1)
run("clearsessions")
import views
urlpatterns = [path("add", views.add)]
with override_settings(ROOT_URLCONF=__name__):
    found["response"] = Client().post("/add").content.decode()
found["attempts"] = views.attempts
connection.settings_dict["HOST"] = ""
connection.close()
try:
    connection.ensure_connection()
except Exception as error:
    found["error"] = f"{type(error).__module__}: {error}"
found["modules"] = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps(found))
"""
# A project's words that the package must not know.
PROJECTS = re.compile(
    r"config\.dsql|config/dsql|\bDSQL_(?:PEER_)?ENDPOINT\b|make run|sandbox|manage\.py (?:run|dsql_)"
    r"|\b(?:import|from) (?:config|users|ops|tests)\b",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """As ``startproject`` makes it, with the package beside it."""
    root = tmp_path / "project"
    root.mkdir()
    for words in (["startproject", "shop", "."], ["startapp", "stock"]):
        subprocess.run(
            [sys.executable, "-m", "django", *words], cwd=root, check=True, timeout=60
        )
    shutil.copytree(
        PACKAGE, root / "aurora", ignore=shutil.ignore_patterns("__pycache__")
    )
    with (root / "shop" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (root / "stock" / "models.py").write_text(MODELS)
    (root / "views.py").write_text(VIEWS)
    (root / "program.py").write_text(PROGRAM)
    return root


def test_another_project_uses_it_under_another_name(
    project: Path, scratch: DatabaseWrapper
) -> None:
    ended = subprocess.run(
        [sys.executable, "program.py"],
        cwd=project,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("DSQL_")},
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "AN_ENDPOINT": scratch.settings_dict["HOST"],
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: dict[str, Any] = json.loads(ended.stdout)
    assert "dsql.W001" in found["check"]
    assert found["commands"] == {"loaddata": "aurora", "clearsessions": "aurora"}
    assert "1 rows committed" in found["loaddata"]
    assert (found["response"], found["attempts"]) == ("11", [0, 10])
    assert found["error"].startswith("aurora.options: DATABASES['default']['HOST']")
    assert not {"config", "users", "ops", "tests"} & set(found["modules"])


def test_its_text_names_nothing_of_this_project() -> None:
    named = [
        f"{path.relative_to(PACKAGE)}: {match[0]}"
        for path in PACKAGE.rglob("*")
        if path.suffix in {".py", ".md"}
        for match in PROJECTS.finditer(path.read_text())
    ]
    assert named == []


def test_it_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").read_bytes() == b""


def test_its_readme_names_every_option_check_command_and_setting() -> None:
    text = (PACKAGE / "README.md").read_text()
    checks = re.findall(r'id="(dsql\.\w+)"', (PACKAGE / "validation.py").read_text())
    commands = (PACKAGE / "management" / "commands").glob("[!_]*.py")
    names = [
        *options.BACKEND_OPTIONS,
        *options.DJANGO_OPTIONS,
        *options.DEFAULTS,
        *checks,
        MAX_BODY_SETTING,
        *(f"`{path.stem}" for path in commands),
    ]
    assert [name for name in names if name not in text] == []
    stated = re.findall(r"dsql\.[EW]\d{3}", text)
    assert sorted(stated) == sorted(set(checks))
