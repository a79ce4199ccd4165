"""The core of the API; it collects what the apps with resources declare.

Their AppConfig may have the attributes ``problem_types`` (by code), ``scopes`` (what each
one allows) and ``links`` (names of the URLs that the index leads to).
"""

from django.apps import AppConfig, apps
from django.db.models.signals import pre_migrate


class ApiConfig(AppConfig):
    name = "config.api"
    label = "api"

    def ready(self) -> None:
        from config.api import access, converters, pages, problem_types, system_checks  # noqa: F401 - two register what they hold
        from config.migrating import require_admin

        pre_migrate.connect(require_admin, sender=self)
        for app in apps.get_app_configs():
            problem_types.register(getattr(app, "problem_types", {}))
            access.SCOPES.update(getattr(app, "scopes", {}))
            pages.RESOURCE_LINKS.update(dict.fromkeys(getattr(app, "links", ())))
