"""What DSQL can and cannot do; sources are pages of the Aurora DSQL user guide.

Each flag says what the database does. ``GAPS`` lists tests of Django's own suite that
cannot pass on DSQL, by cause: they need something DSQL lacks that no flag names, or
they assert how PostgreSQL does it.
"""

from django.db.backends.postgresql import features
from django.utils.functional import cached_property

# By cause: a test class of Django's suite and names of its tests.
GAPS: dict[str, dict[str, str]] = {
    "SAVEPOINT is refused: an error ends the whole transaction": {
        "admin_changelist.tests.ChangeListTests": "test_list_editable_atomicity",
        "admin_views.tests.AdminViewBasicTest": "test_disallowed_to_field",
        "admin_views.tests.AdminViewListEditable": """
            test_forged_post_submission_when_no_add_permission""",
        "admin_views.tests.AdminViewPermissionsTest": """
            test_add_view test_change_view test_change_view_save_as_new
            test_delete_view""",
        "auth_tests.test_views.ChangelistTests": "test_view_user_password_is_readonly",
        "constraints.tests.UniqueConstraintTests": """
            test_initially_immediate_database_constraint""",
        "contenttypes_tests.test_management.RemoveStaleContentTypesTests": """
            test_contenttypes_removed_for_apps_not_in_installed_apps
            test_contenttypes_removed_in_installed_apps_without_models
            test_interactive_false
            test_interactive_true_with_dependent_objects
            test_interactive_true_without_dependent_objects
            test_unavailable_content_type_model""",
        "fixtures.tests.FixtureLoadingTests": """
            test_loaddata_app_option test_unmatched_identifier_loading""",
        "fixtures_model_package.tests.FixtureTestCase": "test_loaddata",
        "force_insert_update.tests.ForceTests": "test_force_update",
        "get_or_create.tests.GetOrCreateTests": "test_get_or_create_invalid_params",
        "get_or_create.tests.GetOrCreateTestsWithManualPKs": """
            test_create_with_duplicate_primary_key test_savepoint_rollback""",
        "get_or_create.tests.GetOrCreateThroughManyToMany": "test_something",
        "get_or_create.tests.UpdateOrCreateTests": """
            test_integrity test_manual_primary_key_test""",
        "get_or_create.tests.UpdateOrCreateTestsWithManualPKs": """
            test_create_with_duplicate_primary_key""",
        "many_to_many.tests.ManyToManyTests": "test_add",
        "many_to_one.tests.ManyToOneTests": "test_fk_assignment_and_related_object_cache",
        "model_fields.test_booleanfield.BooleanFieldTests": "test_null_default",
        "model_fields.test_floatfield.TestFloatField": "test_float_validates_object",
        "multiple_database.tests.QueryTestCase": """
            test_generic_key_cross_database_protection
            test_m2m_cross_database_protection""",
        "queries.test_q.QCheckTests": "test_rawsql",
        "sessions_tests.tests.CacheDBSessionTests": """
            test_session_asave_does_not_resurrect_session_logged_out_in_other_context
            test_session_save_does_not_resurrect_session_logged_out_in_other_context""",
        "sessions_tests.tests.CacheDBSessionWithTimeZoneTests": """
            test_session_asave_does_not_resurrect_session_logged_out_in_other_context
            test_session_save_does_not_resurrect_session_logged_out_in_other_context""",
        "sessions_tests.tests.CustomDatabaseSessionTests": """
            test_session_asave_does_not_resurrect_session_logged_out_in_other_context
            test_session_save_does_not_resurrect_session_logged_out_in_other_context""",
        "sessions_tests.tests.DatabaseSessionTests": """
            test_session_asave_does_not_resurrect_session_logged_out_in_other_context
            test_session_save_does_not_resurrect_session_logged_out_in_other_context""",
        "sessions_tests.tests.DatabaseSessionWithTimeZoneTests": """
            test_session_asave_does_not_resurrect_session_logged_out_in_other_context
            test_session_save_does_not_resurrect_session_logged_out_in_other_context""",
        "test_utils.test_testcase.TestDataTests": "test_class_attribute_identity",
        "test_utils.test_testcase.TestTestCase": """
            test_fixture_teardown_checks_constraints""",
        "test_utils.tests.CaptureOnCommitCallbacksTests": """
            test_with_rolled_back_savepoint""",
        "test_utils.tests.TestBadSetUpTestData": """
            test_failure_in_setUpTestData_should_rollback_transaction""",
        "transaction_hooks.tests.TestConnectionOnCommit": """
            test_discards_hooks_from_rolled_back_savepoint
            test_inner_savepoint_does_not_affect_outer
            test_no_savepoints_atomic_merged_with_outer
            test_inner_savepoint_rolled_back_with_outer""",
    },
    "no statement waits for a lock: the later commit fails with OC000": {
        "delete_regress.tests.DeleteLockingTest": "test_concurrent_delete",
        "get_or_create.tests.UpdateOrCreateTransactionTests": """
            test_creation_in_transaction test_updates_in_transaction""",
        "select_for_update.tests.SelectForUpdateTests": "test_raw_lock_not_available",
    },
    "between requests the server is asked nothing: a connection is checked at its next use": {
        "backends.base.test_base.ConnectionHealthChecksTests": """
            test_health_checks_enabled_errors_occurred""",
    },
    "a transaction changes at most 3,000 rows": {
        "delete.tests.DeletionTests": "test_large_delete test_large_delete_related",
        "delete.tests.FastDeleteTests": "test_fast_delete_large_batch",
        "queries.test_bulk_update.BulkUpdateTests": "test_large_batch",
    },
    "a transaction has one DDL statement and none beside DML": {
        "inspectdb.tests.InspectDBTestCase": "test_unsupported_unique_together",
    },
    "a primary key cannot be added, changed or dropped": {
        "migrations.test_executor.ExecutorTests": "test_alter_id_type_with_fk",
        "migrations.test_operations.OperationTests": """
            test_alter_field_pk test_alter_field_pk_fk
            test_alter_field_pk_fk_char_to_int
            test_alter_field_reloads_state_on_fk_target_changes
            test_alter_id_pk_to_uuid_pk test_composite_pk_operations
            test_rename_field_reloads_state_on_fk_target_changes""",
        "schema.tests.SchemaTests": """
            test_add_auto_field test_alter_auto_field_to_char_field
            test_alter_auto_field_to_integer_field
            test_alter_int_pk_to_autofield_pk
            test_alter_int_pk_to_bigautofield_pk
            test_alter_int_pk_to_int_unique
            test_alter_not_unique_field_to_primary_key
            test_alter_primary_key_the_same_name
            test_alter_smallint_pk_to_smallautofield_pk test_autofield_to_o2o
            test_char_field_pk_to_auto_field test_primary_key""",
    },
    "ADD COLUMN takes no generated column": {
        "migrations.test_operations.OperationTests": """
            test_add_field_after_generated_field
            test_add_generated_field_stored
            test_generated_field_changes_output_field
            test_invalid_generated_field_changes_on_rename_stored
            test_invalid_generated_field_changes_stored
            test_remove_generated_field_stored""",
        "schema.tests.SchemaTests": "test_add_generated_field_contains",
    },
    "ALTER COLUMN TYPE is refused: the column is replaced in several statements": {
        "schema.tests.SchemaTests": """
            test_unique_and_reverse_m2m test_unique_no_unnecessary_fk_drops""",
    },
    "identity columns, and so foreign keys to them, are bigint": {
        "schema.tests.SchemaTests": """
            test_alter_fk test_alter_fk_to_o2o test_alter_o2o_to_fk test_m2m
            test_m2m_create test_m2m_create_custom test_m2m_create_inherited
            test_m2m_create_through test_m2m_create_through_custom
            test_m2m_create_through_inherited test_m2m_custom
            test_m2m_inherited test_remove_constraints_capital_letters""",
    },
    "the serial types do not exist": {
        "backends.postgresql.test_introspection.DatabaseSequenceTests": """
            test_get_sequences_old_serial""",
        "schema.tests.SchemaTests": "test_alter_serial_auto_field_to_bigautofield",
    },
    "arrays cannot be stored": {
        "schema.tests.SchemaTests": """
            test_alter_array_field_decrease_base_field_length
            test_alter_array_field_decrease_nested_base_field_length
            test_alter_field_with_custom_db_type""",
    },
    "indexes take no operator class; under the C collation each serves LIKE": {
        "indexes.tests.SchemaIndexesPostgreSQLTests": """
            test_ops_class test_ops_class_columns_lists_sql
            test_ops_class_descending
            test_ops_class_descending_columns_list_sql
            test_ops_class_descending_partial test_ops_class_include
            test_ops_class_include_tablespace test_ops_class_multiple_columns
            test_ops_class_partial test_ops_class_partial_tablespace
            test_text_indexes""",
        "schema.tests.SchemaTests": """
            test_add_indexed_charfield test_add_unique_charfield
            test_alter_field_add_db_index_to_charfield_with_unique
            test_alter_field_add_index_to_charfield
            test_alter_field_add_index_to_textfield
            test_alter_field_add_unique_to_charfield
            test_alter_field_add_unique_to_charfield_with_db_index
            test_alter_field_remove_unique_and_db_index_from_charfield
            test_alter_field_swap_unique_and_db_index_with_charfield
            test_indexed_charfield_to_textfield""",
    },
    "an index is built by a job, which is asked about": {
        "cache.tests.CreateCacheTableForDBCacheTests": """
            test_createcachetable_observes_database_router""",
        "migrations.test_operations.OperationTests": "test_rename_index",
    },
    "a role, another isolation level or a pool in OPTIONS is refused": {
        "backends.postgresql.tests.Tests": """
            test_bypass_role_configuration test_connect_invalid_isolation_level
            test_connect_isolation_level
            test_pooling_not_support_persistent_connections""",
    },
    "DECLARE CURSOR is refused": {
        "backends.postgresql.test_server_side_cursors.ServerSideCursorsPostgres": """
            test_server_side_binding test_server_side_cursor
            test_server_side_cursor_many_cursors
            test_server_side_cursors_setting test_values test_values_list
            test_values_list_fields_not_equal_to_names test_values_list_flat""",
        "backends.postgresql.tests.Tests": "test_connect_server_side_binding",
    },
    "TRUNCATE is refused": {
        "backends.postgresql.test_operations.PostgreSQLOperationsTests": """
            test_sql_flush test_sql_flush_allow_cascade
            test_sql_flush_sequences test_sql_flush_sequences_allow_cascade""",
    },
    "SET ROLE is refused": {
        "backends.postgresql.tests.Tests": "test_connect_role",
    },
    "COPY TO is refused": {
        "backends.postgresql.tests.Tests": "test_copy_cursors",
    },
    "PARTITION BY is refused": {
        "inspectdb.tests.InspectDBTransactionalTests": "test_include_partitions",
    },
}  # fmt: skip


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
    # ADD COLUMN takes a name and a type: "ALTER TABLE syntax support".
    can_create_inline_fk = False
    # ASC, DESC and operator classes are refused in an index: "CREATE INDEX ASYNC".
    supports_index_column_ordering = False
    # ALTER INDEX is not among the statements: it is dropped and built again.
    can_rename_index = False
    # Tablespaces and materialized views are refused: "Unsupported SQL features".
    supports_tablespaces = False
    can_introspect_materialized_views = False
    # The one collation is C, and COLLATE is refused in DDL.
    supports_collation_on_charfield = False
    supports_collation_on_textfield = False
    supports_non_deterministic_collations = False
    test_collations = dict.fromkeys(
        ("ci", "cs", "non_default", "swedish_ci", "virtual")
    )
    # Functions are written in SQL: "CREATE FUNCTION".
    create_test_procedure_without_params_sql = "CREATE FUNCTION test_procedure() RETURNS integer LANGUAGE sql AS $$ SELECT 1 $$"
    create_test_procedure_with_int_param_sql = (
        "CREATE FUNCTION test_procedure(p_i integer) RETURNS integer LANGUAGE sql "
        "AS $$ SELECT p_i $$"
    )

    @cached_property
    def introspected_field_types(self) -> dict[str, str]:  # type: ignore[override]  # cached
        # Identity columns are bigint, and addresses are kept as text.
        return {
            **super().introspected_field_types,
            "AutoField": "BigAutoField",
            "SmallAutoField": "BigAutoField",
            "GenericIPAddressField": "CharField",
        }

    @cached_property
    def django_test_skips(self) -> dict[str, set[str]]:  # type: ignore[override]  # cached
        skips = super().django_test_skips
        for cause, classes in GAPS.items():
            skips[cause] = {
                f"{test_class}.{name}"
                for test_class, names in classes.items()
                for name in names.split()
            }
        return skips
