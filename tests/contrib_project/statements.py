"""Every statement that migrating from zero sends and that changes something, as JSON.

``python -m tests.contrib_project.statements`` with the environment of a sandbox.
"""

import json
import os
import sys

import django
from django.core.management import call_command
from django.db import connection

from tests.contrib_project.cutting import Counter, counting, fresh


def main() -> int:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.contrib_project.settings"
    django.setup()
    fresh()
    counter = Counter()
    with counting(counter):
        call_command("migrate", verbosity=0, interactive=False)
    connection.close()
    print(json.dumps(counter.statements))
    return 0


if __name__ == "__main__":
    sys.exit(main())
