-- What a DSQL cluster's catalog has and PostgreSQL's has not. Run once, as superuser.
SET allow_system_table_mods = on;

CREATE ROLE admin LOGIN CREATEROLE;
ALTER DATABASE postgres OWNER TO admin;
ALTER SCHEMA public OWNER TO admin;

-- Built-in functions are found by OID, so replacing them has no effect: rename, then add.
ALTER FUNCTION pg_catalog.version() RENAME TO native_version;
CREATE FUNCTION pg_catalog.version() RETURNS text LANGUAGE sql STABLE AS
  $$ SELECT 'PostgreSQL 16' $$;
ALTER FUNCTION pg_catalog.current_setting(text) RENAME TO native_setting;
CREATE FUNCTION pg_catalog.current_setting(text) RETURNS text LANGUAGE sql STABLE STRICT AS
  $$ SELECT CASE lower($1) WHEN 'server_version' THEN '16.15'
       WHEN 'server_version_num' THEN '160015' ELSE pg_catalog.native_setting($1) END $$;

DO $$
DECLARE name text;
BEGIN
  FOR name IN SELECT cfgname FROM pg_ts_config WHERE cfgname <> 'simple' LOOP
    EXECUTE format('DROP TEXT SEARCH CONFIGURATION pg_catalog.%I', name);
  END LOOP;
END $$;

CREATE SCHEMA sandbox;
CREATE TABLE sandbox.iam_mapping (
  iam_oid bigint GENERATED ALWAYS AS IDENTITY,
  arn text NOT NULL, role oid NOT NULL, grantor oid NOT NULL, PRIMARY KEY (arn, role));
CREATE TABLE sandbox.jobs (
  job_id text PRIMARY KEY, status text NOT NULL, details text, job_type text NOT NULL,
  class_id oid, object_id oid, object_name text,
  start_time timestamptz NOT NULL, update_time timestamptz NOT NULL);

CREATE SCHEMA sys;
GRANT USAGE ON SCHEMA sys TO PUBLIC;
CREATE VIEW sys.iam_pg_role_mappings AS
  SELECT iam_oid, arn, role AS pg_role_oid, r.rolname AS pg_role_name,
         grantor AS grantor_pg_role_oid, g.rolname AS grantor_pg_role_name
  FROM sandbox.iam_mapping JOIN pg_roles r ON r.oid = role JOIN pg_roles g ON g.oid = grantor;
CREATE VIEW sys.jobs AS SELECT * FROM sandbox.jobs;
GRANT SELECT ON sys.iam_pg_role_mappings, sys.jobs TO PUBLIC;

CREATE FUNCTION sandbox.require_grantor() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF NOT (SELECT rolcreaterole FROM pg_roles WHERE rolname = session_user) THEN
    RAISE insufficient_privilege USING MESSAGE = 'permission denied to map IAM identities';
  END IF;
END $$;
CREATE FUNCTION sys.iam_grant(role text, identity text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  PERFORM sandbox.require_grantor();
  INSERT INTO sandbox.iam_mapping (arn, role, grantor)
    VALUES (identity, quote_ident(role)::regrole, quote_ident(session_user)::regrole)
    ON CONFLICT DO NOTHING;
END $$;
CREATE FUNCTION sys.iam_revoke(role text, identity text) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  PERFORM sandbox.require_grantor();
  DELETE FROM sandbox.iam_mapping m
    WHERE m.arn = identity AND m.role = quote_ident(iam_revoke.role)::regrole;
END $$;
CREATE FUNCTION sys.record_job(id text, kind text) RETURNS void
  LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  INSERT INTO sandbox.jobs (job_id, status, job_type, class_id, start_time, update_time)
    VALUES (id, 'completed', kind, 1259, now(), now()) $$;
CREATE PROCEDURE sys.wait_for_job(IN id text, OUT succeeded boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  IF id !~ '^[a-z2-7]{26}$' THEN
    RAISE invalid_text_representation USING MESSAGE = 'Unable to convert text to UUID';
  END IF;
  SELECT status = 'completed' INTO succeeded FROM sandbox.jobs WHERE job_id = id;
END $$;
