-- What DSQL refuses and only the catalog or a call can tell; its sys functions. Run once, as
-- superuser, after catalog.sql.
SET allow_system_table_mods = on;

-- The type below all domains, by the name that refusals have.
CREATE FUNCTION sandbox.base_type(type oid) RETURNS text LANGUAGE sql STABLE AS $$
  WITH RECURSIVE below AS (
    SELECT oid, typbasetype, typtype FROM pg_type WHERE oid = type
    UNION SELECT t.oid, t.typbasetype, t.typtype FROM below JOIN pg_type t
      ON t.oid = below.typbasetype WHERE below.typtype = 'd')
  SELECT format_type(oid, NULL) FROM below WHERE typtype <> 'd' $$;
-- The n of char(n) and varchar(n).
CREATE FUNCTION sandbox.declared_size(type oid, typmod int) RETURNS int LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN type IN ('bpchar'::regtype, 'varchar'::regtype) AND typmod > 4
    THEN typmod - 4 END $$;

-- Every type that can be stored.
CREATE FUNCTION sandbox.check_type(type oid) RETURNS void LANGUAGE plpgsql STABLE AS $$
DECLARE name text := sandbox.base_type(type);
BEGIN
  IF name NOT IN ('smallint', 'integer', 'bigint', 'real', 'double precision', 'numeric',
      'character', 'bpchar', 'character varying', 'text', 'bytea', 'json', 'jsonb', 'date',
      'time without time zone', 'time with time zone', 'timestamp without time zone',
      'timestamp with time zone', 'interval', 'boolean', 'uuid') THEN
    RAISE feature_not_supported USING MESSAGE = format('datatype %s not supported', name);
  END IF;
END $$;
CREATE FUNCTION sandbox.check_domain(domain regtype) RETURNS void LANGUAGE sql STABLE AS $$
  SELECT sandbox.check_type(domain) $$;

-- Refuse the index for the type of one of its keys, or their declared sizes.
CREATE FUNCTION sandbox.check_keys(index oid) RETURNS void LANGUAGE plpgsql STABLE AS $$
DECLARE
  type text := (SELECT sandbox.base_type(atttypid) FROM pg_index
    JOIN pg_attribute ON attrelid = indexrelid AND attnum <= indnkeyatts
    WHERE indexrelid = index AND sandbox.base_type(atttypid) IN ('json', 'jsonb', 'bytea')
    ORDER BY attnum LIMIT 1);
BEGIN
  IF type IS NOT NULL THEN
    RAISE feature_not_supported
      USING MESSAGE = format('datatype %s is not supported in a key', type);
  END IF;
END $$;
-- Refuse a foreign key between columns of two types.
CREATE FUNCTION sandbox.check_references(rel oid) RETURNS void LANGUAGE plpgsql STABLE AS $$
DECLARE part record;
BEGIN
  FOR part IN SELECT conname, a.attname AS child, b.attname AS parent,
      format_type(a.atttypid, NULL) AS child_type, format_type(b.atttypid, NULL) AS parent_type
    FROM pg_constraint, unnest(conkey, confkey) k (child, parent)
    JOIN pg_attribute a ON a.attnum = k.child JOIN pg_attribute b ON b.attnum = k.parent
    WHERE conrelid = rel AND contype = 'f' AND a.attrelid = conrelid AND b.attrelid = confrelid
      AND a.atttypid <> b.atttypid LIMIT 1 LOOP
    RAISE datatype_mismatch USING
      MESSAGE = format('foreign key constraint "%s" cannot be implemented', part.conname),
      DETAIL = format('Key columns "%s" and "%s" are of incompatible types: %s and %s.',
        part.child, part.parent, part.child_type, part.parent_type);
  END LOOP;
END $$;
CREATE FUNCTION sandbox.check_table(rel regclass) RETURNS void LANGUAGE plpgsql STABLE AS $$
BEGIN
  PERFORM sandbox.check_references(rel);
  PERFORM sandbox.check_type(atttypid) FROM pg_attribute
    WHERE attrelid = rel AND attnum > 0 AND NOT attisdropped;
  PERFORM sandbox.check_keys(indexrelid) FROM pg_index WHERE indrelid = rel;
END $$;

-- Settings: the list of rules/settings.py, for set_config() too. Built-in functions are found
-- by OID, so replacing them has no effect: rename, then add.
CREATE FUNCTION sandbox.settable(name text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT lower(name) IN ('timezone', 'search_path', 'client_encoding', 'datestyle',
    'intervalstyle', 'application_name', 'extra_float_digits',
    'dsql.enable_batched_nestloop', 'standard_conforming_strings', 'bytea_output') $$;
ALTER FUNCTION pg_catalog.set_config(text, text, boolean) RENAME TO native_set_config;
CREATE FUNCTION pg_catalog.set_config(setting_name text, new_value text, is_local boolean)
RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  IF NOT sandbox.settable(setting_name) THEN
    RAISE feature_not_supported USING MESSAGE =
      format('setting configuration parameter "%s" not supported', setting_name);
  END IF;
  RETURN pg_catalog.native_set_config(setting_name, new_value, is_local);
END $$;
ALTER FUNCTION pg_catalog.current_setting(text, boolean) RENAME TO native_setting;
CREATE FUNCTION pg_catalog.current_setting(text, boolean) RETURNS text
LANGUAGE sql STABLE STRICT AS $$
  SELECT CASE WHEN lower($1) IN ('server_version', 'server_version_num', 'max_connections')
    THEN pg_catalog.current_setting($1) ELSE pg_catalog.native_setting($1, $2) END $$;

-- The access method of indexes has a name of DSQL's own. PostgreSQL finds the table by OID.
ALTER TABLE pg_catalog.pg_am RENAME TO native_am;
CREATE VIEW pg_catalog.pg_am AS
  SELECT oid, CASE amname WHEN 'btree' THEN 'btree_index' ELSE amname END AS amname,
         amhandler, amtype FROM pg_catalog.native_am;
GRANT SELECT ON pg_catalog.pg_am TO PUBLIC;

-- No extension is offered.
CREATE OR REPLACE VIEW pg_catalog.pg_available_extensions AS
  SELECT e.name, e.default_version, x.extversion AS installed_version, e.comment
  FROM pg_available_extensions() e LEFT JOIN pg_extension x ON x.extname = e.name WHERE false;

-- Functions of DSQL's own.
CREATE FUNCTION sys.dsql_major_version() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION sys.cluster_size() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER AS
  'SELECT pg_database_size(current_database())';
CREATE FUNCTION sys.cluster_size_limit() RETURNS bigint LANGUAGE sql IMMUTABLE AS
  'SELECT 10::bigint << 40';
CREATE FUNCTION sys.uuid_to_base32_str(id uuid) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$
  SELECT string_agg(substr('abcdefghijklmnopqrstuvwxyz234567',
    (substr(bits, 5 * n + 1, 5)::bit(5))::int + 1, 1), '' ORDER BY n)
  FROM (SELECT string_agg(get_byte(uuid_send(id), i)::bit(8)::text, '' ORDER BY i) || '00' AS bits
    FROM generate_series(0, 15) i) AS whole, generate_series(0, 25) n $$;
CREATE FUNCTION sys.base32_str_to_uuid(id text) RETURNS uuid
LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE bits text := '';
BEGIN
  IF id !~ '^[a-z2-7]{25}[aeimquy4]$' THEN
    RAISE invalid_text_representation USING MESSAGE = 'Unable to convert text to UUID';
  END IF;
  FOR n IN 1..26 LOOP
    bits := bits
      || (strpos('abcdefghijklmnopqrstuvwxyz234567', substr(id, n, 1)) - 1)::bit(5)::text;
  END LOOP;
  RETURN (SELECT string_agg(lpad(to_hex(substr(bits, 8 * i + 1, 8)::bit(8)::int), 2, '0'), ''
    ORDER BY i) FROM generate_series(0, 15) i)::uuid;
END $$;
CREATE FUNCTION sys.current_session_id() RETURNS text LANGUAGE sql STABLE AS $$
  SELECT sys.uuid_to_base32_str(md5(pg_backend_pid()::text || backend_start)::uuid)
  FROM pg_stat_get_activity(pg_backend_pid()) $$;
CREATE FUNCTION sys.current_transaction_id() RETURNS text LANGUAGE sql STABLE AS $$
  SELECT sys.uuid_to_base32_str(md5(pg_backend_pid()::text || transaction_timestamp())::uuid) $$;
CREATE FUNCTION sys.iam_session_user() RETURNS text LANGUAGE sql STABLE AS
  'SELECT session_user::text';
CREATE FUNCTION sys.supported_datatypes() RETURNS SETOF text LANGUAGE sql STABLE AS $$
  SELECT format_type(oid, NULL) FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace
  AND typname = ANY ('{int2,int4,int8,float4,float8,numeric,bpchar,varchar,text,bytea,json,jsonb,'
    'date,time,timetz,timestamp,timestamptz,interval,bool,uuid}'::name[]) $$;
