"""The apps that are tried, and what each needs in settings; versions are in the lock."""

from dataclasses import dataclass, field
from typing import Any

STEPS = ("migrate", "use", "zero", "again")


@dataclass(frozen=True, slots=True)
class App:
    """A library: its Django apps, the labels that have migrations, and its settings."""

    apps: tuple[str, ...]
    labels: tuple[str, ...] = ()  # taken back to zero in this order
    settings: dict[str, Any] = field(default_factory=dict)
    middleware: tuple[str, ...] = ()
    sample: bool = False  # its use needs models of tests.apps.sample
    forwards_only: str = ""  # why its migrations go back on no database

    @property
    def steps(self) -> tuple[str, ...]:
        return STEPS[:2] if self.forwards_only else STEPS


WAGTAIL = (
    "wagtail.contrib.forms", "wagtail.contrib.redirects", "wagtail.embeds", "wagtail.sites",
    "wagtail.users", "wagtail.snippets", "wagtail.documents", "wagtail.images",
    "wagtail.search", "wagtail.admin", "wagtail", "modelcluster", "taggit",
)  # fmt: skip
NO_WAY_BACK = "Its permissions are looked up by a historical model of another state."

APPS: dict[str, App] = {
    "django-allauth": App(
        ("allauth", "allauth.account", "allauth.socialaccount"),
        ("socialaccount", "account"),
        middleware=("allauth.account.middleware.AccountMiddleware",),
    ),
    "djangorestframework-simplejwt": App(
        ("rest_framework", "rest_framework_simplejwt.token_blacklist"),
        ("token_blacklist",),
    ),
    "django-oauth-toolkit": App(("oauth2_provider",), ("oauth2_provider",)),
    "django-two-factor-auth": App(
        (
            "django_otp",
            "django_otp.plugins.otp_static",
            "django_otp.plugins.otp_totp",
            "two_factor",
            "two_factor.plugins.phonenumber",
        ),
        ("otp_totp", "otp_static"),
        {"LOGIN_URL": "two_factor:login"},
    ),
    "social-auth-app-django": App(("social_django",), ("social_django",)),
    "django-axes": App(
        ("axes",),
        ("axes",),
        {
            "AUTHENTICATION_BACKENDS": [
                "axes.backends.AxesStandaloneBackend",
                "django.contrib.auth.backends.ModelBackend",
            ]
        },
        ("axes.middleware.AxesMiddleware",),
    ),
    "django-guardian": App(
        ("guardian",),
        ("guardian",),
        {
            "AUTHENTICATION_BACKENDS": [
                "django.contrib.auth.backends.ModelBackend",
                "guardian.backends.ObjectPermissionBackend",
            ]
        },
    ),
    "django-celery-beat": App(("django_celery_beat",), ("django_celery_beat",)),
    "django-celery-results": App(
        ("django_celery_results",), ("django_celery_results",)
    ),
    "django-taggit": App(("taggit",), ("taggit",), sample=True),
    "django-mptt": App(("mptt",), sample=True),
    "django-treebeard": App(("treebeard",), sample=True),
    "django-simple-history": App(("simple_history",), sample=True),
    "django-reversion": App(("reversion",), ("reversion",), sample=True),
    "django-import-export": App(("import_export",), sample=True),
    "django-polymorphic": App(("polymorphic",), sample=True),
    "django-filer": App(("easy_thumbnails", "filer"), ("filer", "easy_thumbnails")),
    "easy-thumbnails": App(("easy_thumbnails",), ("easy_thumbnails",)),
    "django-cities-light": App(("cities_light",), ("cities_light",)),
    "django-waffle": App(("waffle",), ("waffle",)),
    "django-silk": App(("silk",), ("silk",)),
    "django-constance": App(
        ("constance",),
        settings={
            "CONSTANCE_BACKEND": "constance.backends.database.DatabaseBackend",
            "CONSTANCE_CONFIG": {"ANSWER": (42, "of everything")},
        },
        forwards_only="A data migration of its own cannot be reversed.",
    ),
    "django-auditlog": App(("auditlog",), ("auditlog",), sample=True),
    "fcm-django": App(("fcm_django",), ("fcm_django",)),
    "django-post-office": App(("post_office",), ("post_office",)),
    "django-health-check": App(("health_check",)),
    "django-debug-toolbar": App(
        ("debug_toolbar",),
        settings={
            "DEBUG_TOOLBAR_CONFIG": {"IS_RUNNING_TESTS": False},
            "INTERNAL_IPS": ["127.0.0.1"],
        },
    ),
    "django-model-utils": App(("model_utils",), sample=True),
    "django-extensions": App(("django_extensions",), sample=True),
    "wagtail": App(
        WAGTAIL, settings={"WAGTAIL_SITE_NAME": "Trial"}, forwards_only=NO_WAY_BACK
    ),
    "wagtail without wagtail.search": App(
        tuple(app for app in WAGTAIL if app != "wagtail.search"),
        settings={"WAGTAIL_SITE_NAME": "Trial"},
        forwards_only=NO_WAY_BACK,
    ),
    "django-q2": App(
        ("django_q",), ("django_q",), {"Q_CLUSTER": {"orm": "default", "sync": True}}
    ),
    "django-rest-knox": App(("rest_framework", "knox"), ("knox",)),
    "djangorestframework-api-key": App(
        ("rest_framework", "rest_framework_api_key"), ("rest_framework_api_key",)
    ),
}
