from django.apps import AppConfig
from django.db.models.signals import pre_migrate

from config.migrating import require_admin


class UsersConfig(AppConfig):
    name = "users"

    def ready(self) -> None:
        pre_migrate.connect(require_admin, sender=self)
