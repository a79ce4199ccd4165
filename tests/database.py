"""The connection of the tests, as the backend's own class: Django's proxy has no types."""

from django.db import connections

from config.dsql.base import DatabaseWrapper


def default_connection() -> DatabaseWrapper:
    wrapper = connections["default"]
    assert isinstance(wrapper, DatabaseWrapper)
    return wrapper
