"""What the backend asks only sometimes: a migration met half done, and the whole catalog.

``python -m tests.conformance.continuing`` with the environment of a sandbox.
"""

import os
import sys

import django
from django.core.management import call_command
from django.db import connection

from config.dsql.ddl.catalog import Catalog
from config.dsql.ddl.journal import Journal
from tests.contrib_project.cutting import fresh
from tests.database import default_connection

TABLE, COLUMN = "demo_book", "title"


def meet_what_is_not_recorded() -> None:
    """Each statement of a migration finds its effect in the catalog."""
    call_command("migrate", "demo", "0001", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute('DELETE FROM "django_migrations" WHERE "app" = \'demo\'')
    call_command("migrate", "demo", "0001", verbosity=0)


def meet_the_journal_of_an_ended_migration() -> None:
    wrapper = default_connection()
    wrapper.migration_run.plan = ()
    journal = Journal(wrapper)
    journal.migration = "demo.0001_initial"
    journal.record_removal(TABLE)
    call_command("migrate", "demo", "0002", verbosity=0)


def ask_for_everything() -> None:
    catalog = Catalog(connection)
    for index in catalog.indexes(TABLE):
        catalog.index(TABLE, index.name)
        catalog.active_job(index)
    for of_table in (
        "has_table", "has_rows", "columns", "defaults", "primary_key", "definitions",
        "checked_not_null", "constraints", "indexes",
    ):  # fmt: skip
        getattr(catalog, of_table)(TABLE)
    for of_column in (
        "comment", "needed_by", "constraint", "definition",
    ):  # fmt: skip
        getattr(catalog, of_column)(TABLE, COLUMN)
    catalog.invalid_indexes()
    catalog.can_copy("integer", "bigint")
    introspection = connection.introspection
    with connection.cursor() as cursor:
        introspection.get_table_list(cursor)
        for of_table in (
            "get_table_description", "get_constraints", "get_relations", "get_sequences",
        ):  # fmt: skip
            getattr(introspection, of_table)(cursor, TABLE)


def main() -> int:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.contrib_project.settings"
    django.setup()
    fresh()
    meet_what_is_not_recorded()
    meet_the_journal_of_an_ended_migration()
    ask_for_everything()
    connection.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
