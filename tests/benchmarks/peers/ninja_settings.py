"""What django-ninja's project needs of the served settings, and no more."""

from config.settings import (
    ALLOWED_HOSTS,
    DATABASES,
    DEFAULT_AUTO_FIELD,
    DSQL_PEER_ENDPOINT,
    SECRET_KEY,
    TIME_ZONE,
    USE_I18N,
    USE_TZ,
)

INSTALLED_APPS = ["users"]
MIDDLEWARE = ["tests.benchmarks.peers.ninja_app.headers"]
ROOT_URLCONF = "tests.benchmarks.peers.ninja_app"
LOGGING_CONFIG = None  # the process has set it up; ours would bring our telemetry
__all__ = [
    "ALLOWED_HOSTS",
    "DATABASES",
    "DEFAULT_AUTO_FIELD",
    "DSQL_PEER_ENDPOINT",
    "SECRET_KEY",
    "TIME_ZONE",
    "USE_I18N",
    "USE_TZ",
]
