"""What ``manage.py`` uses: the served settings plus the operators' commands."""

from config.settings import *  # noqa: F403 - the same settings, one app more
from config.settings import INSTALLED_APPS as SERVED_APPS

# config.dsql brings loaddata and clearsessions that commit batch by batch.
INSTALLED_APPS = ["config.dsql", *SERVED_APPS, "ops"]
