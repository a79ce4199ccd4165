-- Everything that clients of a deleted cluster made. Run as superuser, one transaction.
BEGIN;
SET LOCAL lock_timeout = '2s';
DO $$
DECLARE name text;
BEGIN
  PERFORM pg_terminate_backend(pid, 1000) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND usename <> current_user;
  FOR name IN SELECT nspname FROM pg_namespace
      WHERE nspname !~ '^(pg_|sandbox$|sys$|information_schema$)' LOOP
    EXECUTE format('DROP SCHEMA %I CASCADE', name);
  END LOOP;
  FOR name IN SELECT rolname FROM pg_roles
      WHERE rolname !~ '^pg_' AND rolname NOT IN (current_user, 'admin') LOOP
    EXECUTE format('DROP OWNED BY %I CASCADE', name);
    EXECUTE format('DROP ROLE %I', name);
  END LOOP;
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'sandbox' LOOP
    EXECUTE format('TRUNCATE sandbox.%I', name);
  END LOOP;
END $$;
CREATE SCHEMA public AUTHORIZATION admin;
GRANT USAGE ON SCHEMA public TO PUBLIC;
COMMIT;
