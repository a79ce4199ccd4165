"""A migration that was executed and not recorded, met again by the next run.

``python -m tests.conformance.continuing`` with the environment of a sandbox.
"""

import os
import sys

import django
from django.core.management import call_command
from django.db import connection

from tests.contrib_project.cutting import fresh


def main() -> int:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.contrib_project.settings"
    django.setup()
    fresh()
    call_command("migrate", "demo", "0001", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute('DELETE FROM "django_migrations" WHERE "app" = \'demo\'')
    call_command("migrate", "demo", "0001", verbosity=0)
    connection.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
