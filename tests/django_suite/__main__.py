"""Run labels of Django's suite on config.dsql and on plain PostgreSQL; print a table.

``python -m tests.django_suite [label ...]``. Outcomes and logs of every run stay in
``.cache/django-suite``; outcomes of plain PostgreSQL are reused.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import django

from ops.local.sandbox import lifecycle
from ops.local.sandbox.postgres import SUPERUSER, Postgres
from ops.paths import PROJECT
from tests.django_suite.runner import OUTCOMES

CACHE = PROJECT / ".cache" / "django-suite"
LABELS = [
    "basic", "bulk_create", "ordering", "lookup", "get_or_create", "update", "delete",
    "delete_regress", "transactions", "transaction_hooks", "constraints", "many_to_many",
    "many_to_one", "one_to_one", "foreign_object", "dates", "datetimes", "timezones",
    "expressions", "expressions_case", "expressions_window", "aggregation",
    "aggregation_regress", "annotations", "queries", "db_functions", "defer",
    "select_related", "prefetch_related", "pagination", "generic_relations", "raw_query",
    "null_queries", "m2m_through", "model_inheritance", "proxy_models", "custom_pk",
    "composite_pk", "indexes", "introspection", "inspectdb", "schema", "migrations",
    "backends", "model_fields", "serializers", "fixtures", "sessions_tests", "auth_tests",
    "contenttypes_tests", "admin_views", "cache", "validation", "select_for_update",
    "distinct_on_fields", "from_db_value", "update_only_fields", "async",
    "migrate_signals", "datatypes",
]  # fmt: skip
SETTINGS = """
SECRET_KEY = "suite"
USE_TZ = False
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
TEST_RUNNER = "tests.django_suite.runner.Runner"
DATABASES = {databases!r}
"""
READ_COMMITTED = "-c default_transaction_isolation=read\\ committed"

Outcomes = dict[str, tuple[str, str]]


def source() -> Path:
    """The tests folder of Django's source distribution of the installed version."""
    version = django.__version__
    folder = CACHE / f"django-{version}" / "tests"
    if not folder.exists():
        print(
            f"Downloading the source distribution of Django {version} ...", flush=True
        )
        subprocess.run(
            [
                sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary",
                "Django", "--no-build-isolation", "--dest", str(CACHE), f"Django=={version}",
            ],
            check=True,
        )  # fmt: skip
        (archive,) = CACHE.glob(f"*jango-{version}.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(CACHE, filter="data")
    return folder


# The embedded PostgreSQL is built without ICU and has no extensions.
EMBEDDED = """
from django.db.backends.postgresql.features import DatabaseFeatures
DatabaseFeatures.test_collations = {"deterministic": "C", "non_default": "POSIX",
    "swedish_ci": None, "virtual": "POSIX"}
from django.contrib.postgres.operations import CreateExtension
CreateExtension.database_forwards = lambda *arguments: None
"""


def run(
    engine: str, label: str, databases: object, environ: dict[str, str]
) -> Outcomes:
    """Every test's outcome; empty when the label's tables could not be made."""
    settings = CACHE / f"suite_{engine}.py"
    text = SETTINGS.format(databases=databases)
    settings.write_text(text + (EMBEDDED if engine == "postgresql" else ""))
    outcomes = CACHE / f"{engine}-{label}.json"
    outcomes.unlink(missing_ok=True)
    with (CACHE / f"{engine}-{label}.log").open("w") as log:
        subprocess.run(
            [
                sys.executable, "-W", "ignore", "runtests.py", f"--settings={settings.stem}",
                "--parallel=1", "--noinput", "--verbosity=2", label,
            ],
            cwd=source(),
            env={
                **os.environ,
                **environ,
                "PYTHONPATH": os.pathsep.join([str(PROJECT), str(CACHE)]),
                OUTCOMES: str(outcomes),
            },
            stdout=log,
            stderr=log,
            check=False,
        )  # fmt: skip
    return load(outcomes)


def load(outcomes: Path) -> Outcomes:
    return json.loads(outcomes.read_text()) if outcomes.exists() else {}


def reference(label: str) -> Outcomes:
    """Plain PostgreSQL's outcomes, measured once."""
    known = load(CACHE / f"postgresql-{label}.json")
    if known:
        return known
    postgres = Postgres(CACHE / "postgresql")
    postgres.start()
    try:
        database = {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": str(postgres.socket),
            "USER": SUPERUSER,
            "NAME": "postgres",
            "OPTIONS": {"options": READ_COMMITTED},
        }
        databases = {
            "default": database,
            "other": {**database, "TEST": {"NAME": "test_other"}},
        }
        return run("postgresql", label, databases, {})
    finally:
        postgres.stop()


def measured(label: str, status: lifecycle.Status) -> Outcomes:
    database = {
        "ENGINE": "config.dsql",
        "HOST": status.regions[0].endpoint,
        "NAME": "postgres",
    }
    databases = {"default": database, "other": dict(database)}
    return run("dsql", label, databases, status.environ())


def row(label: str, expected: Outcomes, found: Outcomes) -> dict[str, Any]:
    """A line of the table; tests that DSQL lacks a feature for are those it skips."""
    wanted = {test for test, (outcome, _) in expected.items() if outcome == "ok"}
    counts = Counter(found.get(test, ("not run", ""))[0] for test in wanted)
    possible = len(wanted) - counts["skip"]
    return {
        "label": label,
        "postgresql": len(wanted),
        "ok": counts["ok"],
        "lacking": counts["skip"],
        "failed": counts["fail"] + counts["error"],
        "not run": counts["not run"],
        "share": counts["ok"] / possible if possible else 1.0,
    }


def show(line: dict[str, Any]) -> None:
    print(
        "{label:22} {postgresql:>10} {ok:>6} {lacking:>8} {failed:>7} {not run:>8} {share:>7.1%}".format(
            **line
        ),
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.django_suite", description=__doc__
    )
    parser.add_argument("labels", nargs="*", default=LABELS)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    arguments = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    source()
    started, lines = time.monotonic(), []
    status = lifecycle.up(CACHE / "sandbox", durable=False)
    text = arguments.format == "text"
    if text:
        print(
            "label                  postgresql     ok  lacking  failed  not run   share"
        )
    try:
        for label in arguments.labels:
            lines.append(row(label, reference(label), measured(label, status)))
            if text:
                show(lines[-1])
    finally:
        lifecycle.reset(CACHE / "sandbox")
    total: dict[str, Any] = {
        key: sum(line[key] for line in lines)
        for key in ("postgresql", "ok", "lacking", "failed", "not run")
    }
    possible = total["postgresql"] - total["lacking"]
    total |= {"label": "total", "share": total["ok"] / possible if possible else 1.0}
    if text:
        show(total)
        print(f"{time.monotonic() - started:.0f} s; logs in {CACHE}")
    else:
        print(json.dumps({"labels": lines, "total": total}, indent=2))
    return 0 if total["share"] >= 0.97 and not total["not run"] else 1


if __name__ == "__main__":
    sys.exit(main())
