from django.apps import AppConfig


class DSQLConfig(AppConfig):
    """Optional: commands of Django's that must not work in one transaction."""

    name = __package__
    label = "dsql"
