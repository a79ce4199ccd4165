from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "config.api"
    label = "api"

    def ready(self) -> None:
        from config.api import system_checks  # noqa: F401 - registers them
