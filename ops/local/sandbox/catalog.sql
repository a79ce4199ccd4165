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
       WHEN 'server_version_num' THEN '160015' WHEN 'max_connections' THEN '20' ELSE pg_catalog.native_setting($1) END $$;

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

CREATE SCHEMA sys;
GRANT USAGE ON SCHEMA sys TO PUBLIC;
CREATE VIEW sys.iam_pg_role_mappings AS
  SELECT iam_oid, arn, role AS pg_role_oid, r.rolname AS pg_role_name,
         grantor AS grantor_pg_role_oid, g.rolname AS grantor_pg_role_name
  FROM sandbox.iam_mapping JOIN pg_roles r ON r.oid = role JOIN pg_roles g ON g.oid = grantor;
GRANT SELECT ON sys.iam_pg_role_mappings TO PUBLIC;

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
