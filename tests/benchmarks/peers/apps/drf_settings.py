"""The least that Django REST framework needs, set up when this is imported."""

import django
from django.conf import settings

ROOT_URLCONF = "tests.benchmarks.peers.apps.drf_app"
settings.configure(
    SECRET_KEY="none is needed", ALLOWED_HOSTS=["*"], ROOT_URLCONF=ROOT_URLCONF,
    INSTALLED_APPS=[], MIDDLEWARE=[], USE_I18N=False, USE_TZ=True, LOGGING_CONFIG=None,
    DATABASES={"default": {
        "ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "CONN_MAX_AGE": None,
    }},
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [], "DEFAULT_PERMISSION_CLASSES": [],
        "DEFAULT_THROTTLE_CLASSES": [], "UNAUTHENTICATED_USER": None,
        "UNAUTHENTICATED_TOKEN": None,
    },
)  # fmt: skip
django.setup()
