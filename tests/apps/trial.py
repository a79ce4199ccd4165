"""One library in one database: ``python -m tests.apps.trial``, a process of its own.

Prints a line of JSON after each step: its name, and the error if there was one.
"""

import json
import sys
import traceback
from collections.abc import Callable

import django


def create_schema() -> None:
    """DSQL has one database; an empty schema of it stands for an empty database."""
    from django.db import connection

    database, _, schema = connection.settings_dict["NAME"].partition(".")
    if schema:
        connection.settings_dict["NAME"] = database
        name = connection.ops.quote_name(schema)
        with connection.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
            cursor.execute(f"CREATE SCHEMA {name}")
        connection.close()
        connection.settings_dict["NAME"] = f"{database}.{schema}"


def migrate() -> None:
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def use() -> None:
    import os

    from django.apps import apps
    from django.db import connection

    from tests.apps import uses_of_models  # noqa: F401 - it fills USES
    from tests.apps.registry import USES
    from tests.apps.settings import APP
    from tests.apps.uses import general

    general()
    if APP.sample:
        with connection.schema_editor() as editor:
            for model in apps.get_app_config("sample").get_models():
                editor.create_model(model)
    USES[os.environ["APP"]]()
    if APP.sample:
        with connection.schema_editor() as editor:
            for model in reversed(list(apps.get_app_config("sample").get_models())):
                editor.delete_model(model)


def migrate_to_zero() -> None:
    """Its rows go first: not every migration back can keep what the new columns hold."""
    from django.apps import apps
    from django.core.management import call_command

    from tests.apps.settings import APP

    for label in APP.labels:
        for model in apps.get_app_config(label).get_models():
            model._base_manager.all().delete()
    for label in APP.labels:
        call_command("migrate", label, "zero", verbosity=0)


STEPS: dict[str, Callable[[], None]] = {
    "migrate": migrate,
    "use": use,
    "zero": migrate_to_zero,
    "again": migrate,
}


def steps() -> tuple[str, ...]:
    import os

    from tests.apps.catalog import APPS

    return APPS[os.environ["APP"]].steps


def main() -> None:
    django.setup()
    create_schema()
    for name, step in STEPS.items():
        if name not in steps():
            continue
        error = ""
        try:
            step()
        except Exception as raised:  # noqa: BLE001 - it is the finding
            traceback.print_exc()
            error = f"{type(raised).__name__}: {raised}"
        sys.stdout.write(json.dumps({"step": name, "error": error}) + "\n")
        sys.stdout.flush()
        if error and name != "use":
            return


if __name__ == "__main__":
    main()
