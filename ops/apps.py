import os
import sys
from pathlib import Path

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured

from ops.target import OPTION, TARGETS, VARIABLE

# `django-admin`, and the end of the path that `python -m django` runs.
DJANGO_PROGRAMS = ("django-admin", "django/__main__.py")


class OpsConfig(AppConfig):
    name = "ops"

    def ready(self) -> None:
        """Refuse to run without a target, which only manage.py finds."""
        program = Path(sys.argv[0]).as_posix()
        if (
            program.endswith(DJANGO_PROGRAMS)
            and os.environ.get(VARIABLE) not in TARGETS
        ):
            raise ImproperlyConfigured(
                f"No target is named: use manage.py, which finds it and has {OPTION}, or set "
                f"{VARIABLE} to one of {', '.join(TARGETS)}."
            )
