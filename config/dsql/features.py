"""What DSQL can and cannot do; sources are pages of the Aurora DSQL user guide."""

from django.db.backends.postgresql import features


class DatabaseFeatures(features.DatabaseFeatures):
    minimum_database_version = (16,)
    # Known; Django would find out by creating a table and rolling back.
    supports_transactions = True
    # SAVEPOINT is refused: "Unsupported SQL features".
    uses_savepoints = False
    can_release_savepoints = False
    # One DDL statement per transaction, none together with DML: "DDL and distributed
    # transactions".
    can_rollback_ddl = False
    # Only FOR UPDATE and FOR KEY SHARE exist, and neither waits.
    has_select_for_update_nowait = False
    has_select_for_update_skip_locked = False
    has_select_for_no_key_update = False
