"""The served project with a second resource: one more app, and its URLs."""

from tests.settings import *  # noqa: F403 - the same settings but for two
from tests.settings import INSTALLED_APPS as SERVED_APPS

INSTALLED_APPS = [*SERVED_APPS, "tests.resource_project.notes"]
ROOT_URLCONF = "tests.resource_project.urls"
