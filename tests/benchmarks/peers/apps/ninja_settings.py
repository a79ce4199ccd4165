"""django-ninja's project: two of Django's middlewares, a connection that is kept."""

SECRET_KEY = "signs nothing"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS: list[str] = []
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]
ROOT_URLCONF = "tests.benchmarks.peers.apps.ninja_app"
APPEND_SLASH = False
USE_I18N = False
USE_TZ = True
LOGGING_CONFIG = None
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "postgres",
        "CONN_MAX_AGE": None,
    }
}
