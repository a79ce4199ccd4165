"""What changes, describes or checks a schema is imported when it is first used.

No request needs it, and a process that only serves starts faster without.
"""

from typing import Any

from django.utils.functional import cached_property


def _create_creation(connection: Any) -> Any:
    from .creation import DatabaseCreation

    return DatabaseCreation(connection)


def _create_introspection(connection: Any) -> Any:
    from .introspection import DatabaseIntrospection

    return DatabaseIntrospection(connection)


def _create_validation(connection: Any) -> Any:
    from .validation import DatabaseValidation

    return DatabaseValidation(connection)


def _create_migration_run(connection: Any) -> Any:
    from .ddl.journal import MigrationRun

    return MigrationRun(connection.limits)


def _import_schema_editor(connection: Any) -> Any:
    from .schema import DatabaseSchemaEditor

    return DatabaseSchemaEditor


class DeferredParts:
    """A DatabaseWrapper's parts under Django's names; stands before Django's own class."""

    # Any: Django's stubs know them as attributes of its own classes.
    creation: Any = cached_property(_create_creation)
    introspection: Any = cached_property(_create_introspection)
    validation: Any = cached_property(_create_validation)
    migration_run: Any = cached_property(_create_migration_run)
    SchemaEditorClass: Any = property(_import_schema_editor)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("creation", "introspection", "validation"):
            del self.__dict__[name]  # Django's own, which would stand before these
