"""The served settings with the operators' commands; conftest.py names the database."""

import os

os.environ.setdefault("DJANGO_SECRET_KEY", "tests-only-" + "k" * 50)
os.environ.setdefault("API_AUTH", "none")
os.environ.setdefault("API_RATE_LIMIT", "0")
os.environ.setdefault("CORS_ALLOWED_ORIGINS", "https://app.example.com")
os.environ.setdefault("ALLOWED_HOSTS", "testserver")

from config.settings_ops import *  # noqa: F403 - the environment above comes first
from config.settings_ops import DATABASES as SERVED

# The other Region's endpoint: the same database seen through another connection.
DATABASES = {
    **SERVED,
    "secondary": {**SERVED["default"], "TEST": {"MIRROR": "default"}},
}
