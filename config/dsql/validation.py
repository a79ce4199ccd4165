"""System checks: what models and migrations use that DSQL refuses or does differently.

Run by ``manage.py check --database default`` and before every ``migrate``.
"""

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import FieldError
from django.db import Error as DatabaseError
from django.db import models, router
from django.db.backends.base.validation import BaseDatabaseValidation
from django.db.models.sql import Query
from django.utils.module_loading import import_string

from .ddl.catalog import Catalog
from .ddl.index_keys import HARMLESS_OPCLASSES
from .middleware import RetryConflicts

# AWS user guide, "Supported data types": what it leaves out.
REFUSED_TYPES = {
    "bit", "box", "cidr", "circle", "citext", "hstore", "inet", "line", "lseg", "macaddr",
    "money", "path", "point", "polygon", "tsquery", "tsvector", "xml", "int4range",
    "int8range", "numrange", "tsrange", "tstzrange", "daterange",
}  # fmt: skip
# "Cluster quotas and database limits".
MAX_KEY_COLUMNS, MAX_COLUMNS, MAX_INDEXES = 8, 255, 24
# Middleware that keeps something of an attempt; also what derives from it.
ATTEMPT_MODULES = {
    "django.contrib.auth.middleware", "django.contrib.messages.middleware",
    "django.contrib.sessions.middleware", "django.middleware.csrf",
}  # fmt: skip


class DatabaseValidation(BaseDatabaseValidation):
    def check_field(self, field: Any, **kwargs: Any) -> list[CheckMessage]:
        messages: list[CheckMessage] = []
        kind = (field.db_type(self.connection) or "").partition("(")[0].strip()
        if kind.endswith("]") or kind in REFUSED_TYPES:
            messages.append(
                Error(
                    f"DSQL cannot store the type {kind}.",
                    hint="Use JSONField for arrays and maps, two columns for a range, "
                    "TextField for other text.",
                    obj=field,
                    id="dsql.E001",
                )
            )
        if kind in ("json", "jsonb") and (field.db_index or field.unique):
            messages.append(self._refuse_json(field))
        if field.db_tablespace:
            messages.append(self._warn_of_tablespace(field))
        return messages

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        messages: list[CheckMessage] = super().check(**kwargs)
        for model in apps.get_models():
            if router.allow_migrate_model(self.connection.alias, model):
                messages += self._check_model(model)
        messages += check_middleware()
        return [*messages, *self._check_migrations(), *self._check_invalid_indexes()]

    def _check_model(self, model: Any) -> Iterator[CheckMessage]:
        if not model._meta.managed or model._meta.proxy:
            return
        for index in model._meta.indexes:
            yield from self._check_index(model, index)
        for constraint in model._meta.constraints:
            yield from self._check_constraint(model, constraint)
        yield from self._check_limits(model)

    def _check_index(self, model: Any, index: models.Index) -> Iterator[CheckMessage]:
        if index.suffix not in ("idx", "btree"):
            yield Error(
                f"DSQL has one kind of index; {index.name} is a {type(index).__name__}.",
                hint="Use django.db.models.Index or remove it.",
                obj=model,
                id="dsql.E003",
            )
        yield from self._check_keys(model, index.name, index.fields, index.opclasses)
        yield from self._check_expressions(model, index)
        if any(order for _, order in index.fields_orders):
            yield CheckWarning(
                f"The descending order of index {index.name} is dropped.",
                hint="DSQL reads an index both ways; columns of mixed order are sorted.",
                obj=model,
                id="dsql.W001",
            )

    def _check_constraint(self, model: Any, constraint: Any) -> Iterator[CheckMessage]:
        if isinstance(constraint, models.UniqueConstraint):
            opclasses = getattr(constraint, "opclasses", ())
            yield from self._check_keys(
                model, constraint.name, constraint.fields, opclasses
            )
            yield from self._check_expressions(model, constraint)
        elif not isinstance(constraint, models.CheckConstraint):
            yield Error(
                f"DSQL has no {type(constraint).__name__} ({constraint.name}).",
                hint="Guard the rule in a transaction that locks a row: SELECT … FOR UPDATE.",
                obj=model,
                id="dsql.E004",
            )

    def _check_keys(
        self, model: Any, name: str, fields: Any, opclasses: Any
    ) -> Iterator[CheckMessage]:
        refused = {opclass.lower() for opclass in opclasses} - HARMLESS_OPCLASSES
        if refused:
            yield Error(
                f"DSQL has no operator classes: {', '.join(sorted(refused))} in {name}.",
                hint="Remove the operator class or the index.",
                obj=model,
                id="dsql.E005",
            )
        if len(fields) > MAX_KEY_COLUMNS:
            yield Error(
                f"{name} has {len(fields)} key columns; DSQL takes {MAX_KEY_COLUMNS}.",
                hint="Leave columns out, or move them to include.",
                obj=model,
                id="dsql.E006",
            )
        for field in fields:
            kind = model._meta.get_field(field.lstrip("-")).db_type(self.connection)
            if kind in ("json", "jsonb"):
                yield self._refuse_json(model._meta.get_field(field.lstrip("-")))

    def _check_expressions(self, model: Any, index: Any) -> Iterator[CheckMessage]:
        query = Query(model, alias_cols=False)
        for expression in index.expressions:
            try:
                key = expression.resolve_expression(query).output_field
            except FieldError:
                continue  # reported by models.E012 or E043
            if key.db_type(self.connection) in ("json", "jsonb"):
                yield self._refuse_json(model)

    def _check_limits(self, model: Any) -> Iterator[CheckMessage]:
        columns = len(model._meta.local_concrete_fields)
        indexes = 1 + len(model._meta.indexes) + len(model._meta.unique_together)
        indexes += sum(
            f.db_index or f.unique for f in model._meta.local_concrete_fields
        )
        for count, limit, what in (
            (columns, MAX_COLUMNS, "columns"),
            (indexes, MAX_INDEXES, "indexes"),
        ):
            if count > limit:
                yield Error(
                    f"The table has {count} {what}; DSQL takes {limit}.",
                    hint="Split the model in two with a OneToOneField.",
                    obj=model,
                    id="dsql.E007",
                )

    @staticmethod
    def _refuse_json(indexed: Any) -> CheckMessage:
        return Error(
            "DSQL cannot index JSON.",
            hint="Index an expression of it, such as KeyTextTransform().",
            obj=indexed,
            id="dsql.E008",
        )

    @staticmethod
    def _warn_of_tablespace(field: Any) -> CheckMessage:
        return CheckWarning(
            "DSQL has no tablespaces; db_tablespace does nothing.",
            obj=field,
            id="dsql.W002",
        )

    def _check_migrations(self) -> Iterator[CheckMessage]:
        """Operations of migrations to come that DSQL can never run."""
        # Not needed to serve: a cold start does without them.
        from django.db.migrations import AddField
        from django.db.migrations.loader import MigrationLoader
        from django.db.migrations.recorder import MigrationRecorder

        loader = MigrationLoader(self.connection, load=False)
        loader.load_disk()
        try:
            applied = MigrationRecorder(self.connection).applied_migrations()
        except DatabaseError:
            return  # a connection that fails is reported elsewhere
        for key, migration in loader.disk_migrations.items():
            if key in applied:
                continue
            for operation in migration.operations:
                if isinstance(operation, AddField) and (
                    operation.field.generated or operation.field.primary_key
                ):
                    yield from self._refuse_late_column(migration, operation)

    def _refuse_late_column(
        self, migration: Any, operation: Any
    ) -> Iterator[CheckMessage]:
        alias, model = self.connection.alias, operation.model_name_lower
        if router.allow_migrate(alias, migration.app_label, model_name=model):
            yield Error(
                f"{migration} adds {operation.model_name}.{operation.name}, "
                f"a generated or primary key column, to a table.",
                hint="DSQL makes these with the table only: CreateModel. --skip-checks "
                "lets `migrate` run for other apps and with --fake.",
                id="dsql.E009",
            )

    def _check_invalid_indexes(self) -> Iterator[CheckMessage]:
        try:
            invalid = Catalog(self.connection).invalid_indexes()
        except DatabaseError:
            return
        for name, table in invalid:
            yield CheckWarning(
                f"Index {name} of {table} is not valid: its build failed or still runs.",
                hint="If no job in sys.jobs builds it: DROP INDEX, then migrate again.",
                id="dsql.W003",
            )


def check_middleware() -> Iterator[CheckMessage]:
    """Middleware above RetryConflicts whose work belongs to an attempt."""
    above: list[str] = []
    for path in settings.MIDDLEWARE:
        modules = {path.rpartition(".")[0]}
        if not modules & ATTEMPT_MODULES:
            try:
                classes = getattr(import_string(path), "__mro__", ())
            except Exception:  # noqa: BLE001, S112 - Django raises it when it serves
                continue
            if RetryConflicts in classes:
                break
            modules = {cls.__module__ for cls in classes}
        if modules & ATTEMPT_MODULES:
            above.append(path)
    else:
        return
    if above:
        yield CheckWarning(
            f"RetryConflicts stands below {', '.join(above)} in MIDDLEWARE: what an "
            "attempt changes there is not undone before the next.",
            hint="Move RetryConflicts above them, and above any other middleware that "
            "stores something.",
            id="dsql.W004",
        )
