"""What ``manage.py`` uses: the served settings plus the operators' commands."""

from config.settings import *  # noqa: F403 - the same settings, one app more
from config.settings import INSTALLED_APPS as SERVED_APPS

INSTALLED_APPS = [*SERVED_APPS, "ops"]
