-- Shadows: temporary copies of tables, made and filled under a transaction's snapshot, in
-- which it goes on once it holds no lock on real rows. Run once, as superuser, after
-- catalog.sql. Everything here runs with the rights and the search_path of the client.

-- Whether a visible row's xmin is this transaction's: no other's is newer than the snapshot.
CREATE FUNCTION sandbox.own(id xid) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT NOT pg_visible_in_snapshot(id::text::xid8, pg_current_snapshot()) $$;
-- The newest id of this transaction: that of the statement under the last savepoint.
CREATE FUNCTION sandbox.newest() RETURNS text LANGUAGE sql STABLE AS $$
  SELECT max(transactionid::text::bigint)::text FROM pg_locks
  WHERE locktype = 'transactionid' AND pid = pg_backend_pid() AND mode = 'ExclusiveLock' $$;

CREATE FUNCTION sandbox.qualified(rel oid) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT format('%I.%I', nspname, relname) FROM pg_class c
  JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = rel $$;

CREATE FUNCTION sandbox.quoted(rel oid) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT format('"%s"."%s"', replace(nspname, '"', '""'), replace(relname, '"', '""'))
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = rel $$;

-- The columns of a table that can be written, and those of its primary key.
CREATE FUNCTION sandbox.columns(rel oid) RETURNS text[] LANGUAGE sql STABLE AS $$
  SELECT array_agg(quote_ident(attname) ORDER BY attnum) FROM pg_attribute
  WHERE attrelid = rel AND attnum > 0 AND NOT attisdropped AND attgenerated = '' $$;
CREATE FUNCTION sandbox.key(rel oid) RETURNS text[] LANGUAGE sql STABLE AS $$
  SELECT array_agg(quote_ident(attname) ORDER BY attnum) FROM pg_index
  JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY ((indkey::int2[])[0:indnkeyatts - 1])
  WHERE indrelid = rel AND indisprimary $$;
-- The key of a row as one value. A table without a primary key has no such value.
CREATE FUNCTION sandbox.key_value(rel oid) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT format('jsonb_build_array(%s)', array_to_string(sandbox.key(rel), ', ')) $$;

CREATE FUNCTION sandbox.shadows() RETURNS TABLE (base oid, shadow oid, fill text)
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF to_regclass('pg_temp.sandbox_shadow') IS NOT NULL THEN
    RETURN QUERY EXECUTE 'SELECT * FROM pg_temp.sandbox_shadow';
  END IF;
END $$;

-- The tables that a write to the named ones may read or change through foreign keys:
-- everything below them, and the parents of all these. Without those shadowed already.
CREATE FUNCTION sandbox.related(names text[]) RETURNS TABLE (name text, columns text)
LANGUAGE sql STABLE AS $$
  WITH RECURSIVE shadowed AS MATERIALIZED (SELECT * FROM sandbox.shadows()),
  below AS (
    SELECT coalesce(base, found) AS rel
    FROM unnest(names) AS n, CAST(to_regclass(n) AS oid) AS found
    LEFT JOIN shadowed ON shadow = found
    UNION
    SELECT conrelid FROM below JOIN pg_constraint ON confrelid = rel WHERE contype = 'f'),
  family AS (
    SELECT rel FROM below UNION
    SELECT confrelid FROM below JOIN pg_constraint ON conrelid = rel WHERE contype = 'f')
  SELECT sandbox.quoted(rel), array_to_string(sandbox.columns(rel), ', ')
  FROM family JOIN pg_class ON oid = rel
  WHERE relkind = 'r' AND relnamespace::regnamespace NOT IN ('pg_catalog', 'sandbox')
    AND rel NOT IN (SELECT base FROM shadowed)
  ORDER BY rel $$;

-- An empty shadow with the checks, keys and unique indexes of the table.
CREATE FUNCTION sandbox.make_shadow(base regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  name text := (SELECT relname FROM pg_class WHERE oid = base);
  shadow text := format('pg_temp.%I', name);
  part record;
BEGIN
  EXECUTE format('CREATE TEMP TABLE %I (LIKE %s INCLUDING DEFAULTS INCLUDING GENERATED '
    'INCLUDING CONSTRAINTS) ON COMMIT DROP', name, sandbox.qualified(base));
  FOR part IN SELECT attname, pg_get_serial_sequence(sandbox.qualified(base), attname) AS seq
    FROM pg_attribute WHERE attrelid = base AND attidentity <> '' LOOP
    EXECUTE format('ALTER TABLE %s ALTER %I SET DEFAULT nextval(%L)',
      shadow, part.attname, part.seq);
  END LOOP;
  FOR part IN SELECT relname, pg_get_constraintdef(k.oid) AS definition,
      pg_get_indexdef(indexrelid) AS build
    FROM pg_index JOIN pg_class c ON c.oid = indexrelid
    LEFT JOIN pg_constraint k ON conindid = indexrelid AND contype IN ('p', 'u')
    WHERE indrelid = base AND indisunique LOOP
    EXECUTE coalesce(
      format('ALTER TABLE %s ADD CONSTRAINT %I ', shadow, part.relname) || part.definition,
      replace(part.build, format(' ON %s USING', sandbox.qualified(base)),
        format(' ON %s USING', shadow)));
  END LOOP;
  IF to_regclass('pg_temp.sandbox_shadow') IS NULL THEN
    CREATE TEMP TABLE sandbox_shadow (base oid, shadow oid, fill text) ON COMMIT DROP;
  END IF;
  EXECUTE 'INSERT INTO pg_temp.sandbox_shadow VALUES ($1, $2)'
    USING base, shadow::regclass;
END $$;

-- Remember by which id the rows of new shadows were filled in: all others were written.
CREATE FUNCTION sandbox.filled() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  part record;
  fill text;
BEGIN
  FOR part IN SELECT * FROM sandbox.shadows() s WHERE s.fill IS NULL LOOP
    EXECUTE format('SELECT xmin::text FROM %s LIMIT 1', part.shadow::regclass) INTO fill;
    EXECUTE 'UPDATE pg_temp.sandbox_shadow SET fill = $1 WHERE base = $2'
      USING coalesce(fill, ''), part.base;
  END LOOP;
END $$;

-- Foreign keys between shadows; their rows are known to be right.
CREATE FUNCTION sandbox.link_shadows() RETURNS void LANGUAGE plpgsql AS $$
DECLARE part record;
BEGIN
  FOR part IN SELECT conname, c.shadow, pg_get_constraintdef(k.oid) AS definition,
      sandbox.qualified(confrelid) AS parent, sandbox.qualified(p.shadow) AS instead
    FROM pg_constraint k JOIN sandbox.shadows() c ON c.base = conrelid
    JOIN sandbox.shadows() p ON p.base = confrelid
    WHERE contype = 'f' AND NOT EXISTS (SELECT FROM pg_constraint d
      WHERE d.conrelid = c.shadow AND d.conname = k.conname) LOOP
    EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I ', part.shadow::regclass, part.conname)
      || replace(replace(part.definition, ' NOT VALID', ''),
        format(' REFERENCES %s(', part.parent), format(' REFERENCES %s(', part.instead))
      || ' NOT VALID';
  END LOOP;
END $$;

-- Check the foreign keys between shadows for all rows.
CREATE FUNCTION sandbox.check_shadows() RETURNS void LANGUAGE plpgsql AS $$
DECLARE part record;
BEGIN
  FOR part IN SELECT conname, shadow::regclass AS shadow
    FROM pg_constraint JOIN sandbox.shadows() ON shadow = conrelid
    WHERE contype = 'f' AND NOT convalidated LOOP
    EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', part.shadow, part.conname);
  END LOOP;
END $$;

-- Shadow tables that this transaction has not written yet.
CREATE FUNCTION sandbox.shadow(names text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE part record;
BEGIN
  FOR part IN SELECT * FROM sandbox.related(names) LOOP
    PERFORM sandbox.make_shadow(part.name::regclass);
    EXECUTE format('INSERT INTO pg_temp.%I (%s) SELECT %2$s FROM %3$s',
      (SELECT relname FROM pg_class WHERE oid = part.name::regclass), part.columns, part.name);
    RETURN NEXT part.name;
  END LOOP;
  PERFORM sandbox.filled();
  PERFORM sandbox.link_shadows();
END $$;

-- Make what was written to the shadows happen to the tables. PostgreSQL's own checks under
-- this transaction's snapshot then find every conflict. The order (changes, deletions
-- from children to parents, additions from parents to children) can meet a foreign
-- key that is not deferrable in a state the statements never showed; that ends as a
-- conflict too, and the repetition finds nobody in its way.
CREATE FUNCTION sandbox.apply_shadows() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  part record;
  action text;
BEGIN
  FOREACH action IN ARRAY ARRAY['U', 'D', 'I'] LOOP
    FOR part IN
      WITH RECURSIVE above AS (
        SELECT base AS rel, base AS parent FROM sandbox.shadows()
        UNION SELECT rel, confrelid FROM above JOIN pg_constraint ON conrelid = parent
          WHERE contype = 'f')
      SELECT base, sandbox.qualified(base) AS name, shadow::regclass AS shadow, fill,
        sandbox.key(base) AS key, sandbox.columns(base) AS columns,
        (SELECT count(*) FROM above WHERE rel = base) AS depth
      FROM sandbox.shadows()
      ORDER BY CASE action WHEN 'D' THEN -1 ELSE 1 END
        * (SELECT count(*) FROM above WHERE rel = base)
    LOOP
      EXECUTE coalesce(
        sandbox.apply_keyed(action, part.name, part.shadow, part.key, part.columns),
        sandbox.apply_unkeyed(action, part.name, part.shadow, part.columns),
        'SELECT') USING part.fill;
    END LOOP;
  END LOOP;
END $$;

CREATE FUNCTION sandbox.apply_keyed(
  action text, base text, shadow regclass, key text[], columns text[]) RETURNS text
LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
  same text := (SELECT string_agg(format('b.%1$s = s.%1$s', k), ' AND ') FROM unnest(key) k);
  identities text[] := (SELECT array_agg(quote_ident(attname)) FROM pg_attribute
    WHERE attrelid = base::regclass AND attidentity = 'a');
  changes text := (SELECT string_agg(format('%1$s = s.%1$s', c), ', ') FROM unnest(columns) c
    WHERE c <> ALL (coalesce(identities, '{}')) AND (c <> ALL (key) OR columns <@ key));
BEGIN
  RETURN CASE action
    WHEN 'U' THEN format('UPDATE %s b SET %s FROM %s s WHERE %s AND s.xmin::text <> $1',
      base, changes, shadow, same)
    WHEN 'D' THEN format('DELETE FROM %s b WHERE NOT EXISTS (SELECT FROM %s s WHERE %s)',
      base, shadow, same)
    ELSE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %2$s FROM %3$s s '
      'WHERE s.xmin::text <> $1 AND NOT EXISTS (SELECT FROM %1$s b WHERE %4$s)',
      base, array_to_string(columns, ', '), shadow, same) END;
END $$;

-- Rows without a key are told apart by their content.
CREATE FUNCTION sandbox.apply_unkeyed(
  action text, base text, shadow regclass, columns text[]) RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT CASE action
    WHEN 'D' THEN format('DELETE FROM %1$s WHERE ctid IN (SELECT at FROM (SELECT b.ctid AS at, '
      'b::text AS content, row_number() OVER (PARTITION BY b::text) AS n FROM %1$s b) old '
      'WHERE (content, n) NOT IN (SELECT s::text, row_number() OVER (PARTITION BY s::text) '
      'FROM %2$s s WHERE s.xmin::text = $1))', base, shadow)
    WHEN 'I' THEN format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %2$s FROM %3$s s '
      'WHERE s.xmin::text <> $1', base, array_to_string(columns, ', '), shadow) END $$;

-- A row locked FOR UPDATE conflicts as a written one does, also after the lock is gone.
CREATE FUNCTION sandbox.touch(names text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE rel regclass;
BEGIN
  FOR rel IN SELECT DISTINCT to_regclass(n) FROM unnest(names) n LOOP
    IF (SELECT relkind FROM pg_class WHERE oid = rel) = 'r' THEN
      EXECUTE format('UPDATE %s SET %s = %2$s WHERE xmax::text = (SELECT sandbox.newest())',
        rel, (coalesce(sandbox.key(rel), sandbox.columns(rel)))[1]);
    END IF;
  END LOOP;
END $$;

-- The keys of the rows which the last statement locked FOR KEY SHARE.
CREATE FUNCTION sandbox.key_shared(names text[]) RETURNS TABLE (name text, key text)
LANGUAGE plpgsql STABLE AS $$
DECLARE rel regclass;
BEGIN
  FOR rel IN SELECT DISTINCT to_regclass(n) FROM unnest(names) n LOOP
    IF sandbox.key(rel) IS NOT NULL THEN
      RETURN QUERY EXECUTE format('SELECT %L, %s::text FROM %s WHERE xmax::text = '
        '(SELECT sandbox.newest())',
        sandbox.qualified(coalesce(
          (SELECT base FROM sandbox.shadows() WHERE shadow = rel), rel)),
        sandbox.key_value(rel), rel);
    END IF;
  END LOOP;
END $$;

-- Lock these keys again; a conflict when one is gone. Tables by their real names.
CREATE FUNCTION sandbox.share_keys(keys jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE part record;
BEGIN
  FOR part IN SELECT e->>0 AS name, e->1 AS key FROM jsonb_array_elements(keys) e LOOP
    EXECUTE format('SELECT FROM %s WHERE %s = $1 FOR KEY SHARE',
      part.name, sandbox.key_value(part.name::regclass)) USING part.key;
  END LOOP;
END $$;

-- Fail when this transaction deleted one of the keys or gave it another value.
CREATE FUNCTION sandbox.miss_keys(keys jsonb, names text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  part record;
  found boolean;
BEGIN
  FOR part IN SELECT k.base, coalesce(s.shadow, k.base)::regclass AS rel, key
    FROM (SELECT to_regclass(e->>0)::oid AS base, e->1 AS key
      FROM jsonb_array_elements(keys) e) k
    LEFT JOIN sandbox.shadows() s ON s.base = k.base
    WHERE coalesce(s.shadow, k.base) = ANY (SELECT to_regclass(n)::oid FROM unnest(names) n)
  LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE %s = $1)',
      part.rel, sandbox.key_value(part.rel)) INTO found USING part.key;
    IF NOT found THEN
      RAISE serialization_failure USING MESSAGE = 'a key that another transaction shares';
    END IF;
  END LOOP;
END $$;
-- Fail when rows must be measured: below the smallest limit nothing is too large.
CREATE FUNCTION sandbox.check_written(since pg_lsn) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF pg_wal_lsn_diff(pg_current_wal_insert_lsn(), since) > 1 << 20 THEN
    RAISE EXCEPTION USING ERRCODE = 'SBX01';
  END IF;
END $$;

-- Fail when what this transaction wrote to the named tables is more than DSQL takes. Sizes
-- are as stored, compressed.
CREATE FUNCTION sandbox.check_size(names text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  rel regclass;
  total bigint := 0;
  size bigint;
  widest bigint;
  widest_column bigint;
BEGIN
  FOR rel IN SELECT DISTINCT coalesce(s.base, to_regclass(n)) FROM unnest(names) n
    LEFT JOIN sandbox.shadows() s ON s.shadow = to_regclass(n) LOOP
    CONTINUE WHEN (SELECT relkind FROM pg_class WHERE oid = rel) IS DISTINCT FROM 'r';
    EXECUTE format('SELECT sum(pg_column_size(t.*)), max(pg_column_size(t.*)), '
      'max(greatest(%s)) FROM %s t WHERE sandbox.own(xmin)',
      (SELECT string_agg(format('pg_column_size(%s)', c), ', ')
        FROM unnest(sandbox.columns(rel)) c), sandbox.qualified(rel))
      INTO size, widest, widest_column;
    IF widest_column > 1 << 20 THEN
      RAISE program_limit_exceeded USING MESSAGE = 'maximum column size exceeded';
    ELSIF widest > 2 << 20 THEN
      RAISE program_limit_exceeded USING MESSAGE = 'maximum row size exceeded';
    END IF;
    total := total + coalesce(size, 0);
  END LOOP;
  IF total > 10 << 20 THEN
    RAISE program_limit_exceeded USING MESSAGE = 'transaction size limit 10mb exceeded',
      DETAIL = format('Current transaction size %smb > 10mb', ceil(total / 1048576.0));
  END IF;
END $$;
GRANT USAGE ON SCHEMA sandbox TO PUBLIC;
