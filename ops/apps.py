import os
import sys
from pathlib import Path

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured

from ops.target import OPTION, TARGETS, VARIABLE

# `django-admin`, and the last two parts of what `python -m django` runs.
DJANGOS_OWN = ("django-admin", "django/__main__.py")


class OpsConfig(AppConfig):
    name = "ops"

    def ready(self) -> None:
        """Refuse a command line that nobody has found the target for."""
        program = Path(sys.argv[0]).as_posix()
        if program.endswith(DJANGOS_OWN) and os.environ.get(VARIABLE) not in TARGETS:
            raise ImproperlyConfigured(
                f"No target is named: use manage.py, which finds it and has {OPTION}, or set "
                f"{VARIABLE} to one of {', '.join(TARGETS)}."
            )
