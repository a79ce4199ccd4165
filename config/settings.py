"""What Lambda and runserver serve. Every knob is read here, once."""

from typing import Any

from config import env

DEBUG = env.flag("DJANGO_DEBUG")
SECRET_KEY = env.text("DJANGO_SECRET_KEY")
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS")

INSTALLED_APPS = ["config.api", "users"]
MIDDLEWARE = ["config.api.middleware.APIMiddleware"]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = False

# Whether PUT, PATCH and DELETE must name the version they change: 428 without If-Match.
REQUIRE_IF_MATCH = env.flag("REQUIRE_IF_MATCH")

DSQL_PEER_ENDPOINT = env.text("DSQL_PEER_ENDPOINT")
DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "config.dsql",
        "HOST": env.text("DSQL_ENDPOINT"),
        "NAME": "postgres",
        "USER": env.text("DSQL_USER", "admin"),
        "CONN_MAX_AGE": None,
        # Used for new connections while the endpoint above cannot be reached.
        "OPTIONS": {"peer_host": DSQL_PEER_ENDPOINT},
    }
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "django": {"handlers": []},  # to root, not to absent administrators
        "botocore": {"level": "WARNING"},  # names its credential source at INFO
    },
    "root": {"handlers": ["console"], "level": env.log_level("LOG_LEVEL", "INFO")},
}

USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# The JSON API has no users of Django's own and no browsable pages.
REST_FRAMEWORK = {
    "UNAUTHENTICATED_USER": None,
    "UNAUTHENTICATED_TOKEN": None,
    "EXCEPTION_HANDLER": "config.api.problems.handle",
}

# API Gateway ends TLS and forwards only HTTPS; Django's own redirects would loop there.
SILENCED_SYSTEM_CHECKS = [
    "security.W001",  # SecurityMiddleware: its headers are set by config.api.middleware
    "security.W002",  # XFrameOptionsMiddleware: frame-ancestors of the CSP says it
    "security.W003",  # CsrfViewMiddleware: no cookies, nothing to forge
]
