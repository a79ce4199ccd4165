"""What Lambda and runserver serve. Every knob is read here, once."""

from typing import Any

from config import env

DEBUG = env.flag("DJANGO_DEBUG")
# Signs the cursors of lists, and nothing else: on Lambda every principal
# with lambda:GetFunction* reads it, and earlier ones in the versions that Lambda keeps.
SECRET_KEY = env.text("DJANGO_SECRET_KEY")
SECRET_KEY_FALLBACKS = env.words("DJANGO_SECRET_KEY_FALLBACKS")
# Besides what API Gateway routes here and loopback names on loopback: config.api.hosts.
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS")

# What the API calls itself: in its index and pages, and as the realm of access tokens.
API_NAME = "users"
INSTALLED_APPS = ["corsheaders", "config.api", "users"]
MIDDLEWARE = [
    "config.telemetry.middleware.TelemetryMiddleware",
    "config.dsql.deadlines.RequestDeadline",
    "config.api.middleware.APIMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
APPEND_SLASH = False

# Who may call: "oidc" or "none". There is no default, so that open access is a choice.
API_AUTH = env.one_of("API_AUTH", ("", "oidc", "none"), "")
OIDC_ISSUER = env.text("OIDC_ISSUER")
OIDC_AUDIENCE = env.text("OIDC_AUDIENCE")
# Without it the keys are where the issuer's metadata says.
OIDC_JWKS_URL = env.text("OIDC_JWKS_URL")
# Public keys only: with a shared secret the API could make tokens itself.
OIDC_ALGORITHMS = env.some_of(
    "OIDC_ALGORITHMS",
    ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"),
    ["RS256", "ES256"],
)
# Requests per minute of one caller to one process; 0 for no limit.
API_RATE_LIMIT = env.whole("API_RATE_LIMIT", 600)
# Whether PUT, PATCH and DELETE must name the version they change: 428 without If-Match.
REQUIRE_IF_MATCH = env.flag("REQUIRE_IF_MATCH")
# The other Region's API, whose health the page at / reads from the browser.
PEER_URL = env.text("PEER_URL").rstrip("/")

# Browsers of these origins only; no cookies, so credentials are never allowed.
CORS_ALLOWED_ORIGINS = env.words("CORS_ALLOWED_ORIGINS")
if CORS_ALLOWED_ORIGINS:  # without one no request needs it
    MIDDLEWARE.append("corsheaders.middleware.CorsMiddleware")
CORS_ALLOW_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CORS_ALLOW_HEADERS = (
    "authorization",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "traceparent",
    "x-request-id",
)
CORS_EXPOSE_HEADERS = (
    "ETag",
    "Idempotency-Replayed",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
    "X-Database-Region",
    "X-Request-Id",
    "X-Served-By-Region",
)
CORS_PREFLIGHT_MAX_AGE = 600  # seconds

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
    "formatters": {
        "line": {
            "()": "config.telemetry.logs.LineFormatter",
            "fmt": "%(levelname)s %(name)s %(message)s",
        },
        "json": {"()": "config.telemetry.logs.JSONFormatter"},
    },
    "filters": {"frameworks": {"()": "config.telemetry.logs.FrameworkLines"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "filters": ["frameworks"],
            "formatter": env.one_of("LOG_FORMAT", ("line", "json"), "line"),
        }
    },
    "loggers": {
        "django": {"handlers": []},  # to root, not to absent administrators
        "django.server": {"handlers": [], "propagate": True},
        "botocore": {"level": "WARNING"},  # names its credential source at INFO
    },
    "root": {"handlers": ["console"], "level": env.log_level("LOG_LEVEL", "INFO")},
}
# CloudWatch metrics in the log lines, under this namespace; none without it.
METRICS_NAMESPACE = env.text("METRICS_NAMESPACE")
# A trace of every connection and statement for X-Ray, besides Lambda's own.
XRAY_SUBSEGMENTS = env.flag("XRAY_SUBSEGMENTS")

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
    "security.W020",  # ALLOWED_HOSTS is empty: API Gateway's own names need no listing
]
