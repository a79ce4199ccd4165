"""Test databases: DSQL has one database, so each is a schema of it."""

import re
import sys
from typing import Any

from django.core.management import call_command
from django.db.backends.base.creation import TEST_DATABASE_PREFIX
from django.db.backends.postgresql import creation

from .options import DATABASE, parse_schema
from .retry import repeat


class DatabaseCreation(creation.DatabaseCreation):
    def _get_test_db_name(self) -> str:
        name = self.connection.settings_dict["TEST"]["NAME"]
        if name is None:
            alias = re.sub(r"\W", "_", self.connection.alias).lower()
            name = f"{TEST_DATABASE_PREFIX}{alias}"
        return f"{DATABASE}.{name.rpartition('.')[2]}"

    def get_test_db_clone_settings(self, suffix: str) -> dict[str, Any]:
        settings: dict[str, Any] = super().get_test_db_clone_settings(suffix)
        parse_schema(settings["NAME"])
        return settings

    def _create_test_db(
        self, verbosity: int, autoclobber: bool, keepdb: bool = False
    ) -> str:
        """As Django does, without its DROP DATABASE of a leftover."""
        name = self._get_test_db_name()
        schema = self._schema(name)
        with self.connection._nodb_cursor() as cursor:
            if not (keepdb or autoclobber) and self._schema_exists(cursor, schema):
                self._confirm_deletion(schema)
            self._create_schema(cursor, schema, keepdb)
        return name

    def _confirm_deletion(self, schema: str) -> None:
        question = (
            f"Schema {schema} remains from an earlier run. Type 'yes' to delete it, "
            f"or 'no' to cancel: "
        )
        if input(question) != "yes":
            self.log("Tests cancelled.")
            sys.exit(1)

    def _create_schema(self, cursor: Any, schema: str, keepdb: bool) -> bool:
        """Create an empty schema; False if it exists and is kept."""
        if self._schema_exists(cursor, schema):
            if keepdb:
                return False
            self._drop_schema(cursor, schema)
        quoted = self.connection.ops.quote_name(schema)
        repeat(lambda: cursor.execute(f"CREATE SCHEMA {quoted}"))
        return True

    def _clone_test_db(self, suffix: str, verbosity: int, keepdb: bool = False) -> None:
        """Build a worker's schema by migrating it: DSQL cannot copy a schema."""
        connection = self.connection
        original = connection.settings_dict["NAME"]
        name = self.get_test_db_clone_settings(suffix)["NAME"]
        with self.connection._nodb_cursor() as cursor:
            if not self._create_schema(cursor, self._schema(name), keepdb):
                return
        connection.close()
        connection.settings_dict["NAME"] = name
        try:
            call_command(
                "migrate",
                verbosity=max(verbosity - 1, 0),
                interactive=False,
                database=connection.alias,
                run_syncdb=True,
            )
        finally:
            connection.close()
            connection.settings_dict["NAME"] = original

    def _destroy_test_db(self, test_database_name: str, verbosity: int) -> None:
        with self.connection._nodb_cursor() as cursor:
            self._drop_schema(cursor, self._schema(test_database_name))

    def _drop_schema(self, cursor: Any, schema: str) -> None:
        quoted = self.connection.ops.quote_name(schema)
        with cursor.db.without_deadline():
            repeat(lambda: cursor.execute(f"DROP SCHEMA IF EXISTS {quoted} CASCADE"))

    @staticmethod
    def _schema_exists(cursor: Any, schema: str) -> bool:
        query = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s"
        repeat(lambda: cursor.execute(query, [schema]))
        return cursor.fetchone() is not None

    @staticmethod
    def _schema(name: str) -> str:
        """The schema of a test database; Django hands its name over bare or quoted."""
        schema = parse_schema(f"{DATABASE}.{name.strip(chr(34)).rpartition('.')[2]}")
        assert schema is not None  # noqa: S101 - the name above always has a schema
        return schema
